// Package wire is protocol version 1 as it travels: requests, responses and
// errors as the msgpack maps that PROTOCOL.md beside package reward describes.
//
// They are decoded by hand from msgpack's tokens: a length is believed only
// after it was checked against the bytes that are there and a limit of [Limits],
// so that no body takes more memory than its own size. Images and tensors are
// not copied, neither when they are encoded, where a [Message] borrows the
// caller's memory, nor when they are decoded, where they are slices of the body.
//
// On one core of a Xeon server, go test -bench . ./reward/wire: decoding a
// request of 16 raw 512x512 images 16 us and 6 KiB of memory for 12.6 MB;
// encoding it 13 us; encoding 16 maps of 64x64 with their scores 7 us.
package wire
