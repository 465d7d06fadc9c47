// Package pixels turns image files and tensors into RGB pictures, resizes them
// and cuts them into a vision tower's patches, with the bytes that the Python
// reference's libraries give.
//
// Conventions. A picture is 8-bit RGB, interleaved, row major, without padding.
// Sizes are width before height in pictures and files, height before width in
// tensors and heatmaps, as their own fields have it. Functions do not change
// the pictures they are given; those they return belong to the caller, but for
// a uint8 tensor in (height, width, 3), which FromTensor wraps.
//
// What is exact:
//
//   - PNG, JPEG and WebP decode to what Pillow's Image.open and convert("RGB")
//     give, byte for byte: all PNG colour types, depths and interlace; JPEG as
//     libjpeg with its default settings; WebP as libwebp with its own. Alpha is
//     dropped, not blended; an EXIF orientation is ignored.
//   - Resizer.Resize is Pillow's bicubic, Resizer.ResizeTorch torch's on uint8.
//   - Patches are those of transformers' Qwen2-VL processor in the last bit if
//     the picture is resized as the processor does it: ResizeTorch. (With Resize
//     in its place single values are up to 0.0151 off.)
//
// What is not decoded: animated WebP; JPEG of 12 bits, lossless or with
// arithmetic coding. What libjpeg shows in part, with a warning, is an error:
// a picture that is half noise must not be scored.
//
// JPEG files are decoded in Go, where the processor has AVX2 faster than by
// libjpeg-turbo. That is used where it is faster and a Decoder finds it at run
// time, for progressive files and on other processors, with the same bytes; see
// JPEGEngine.
//
// Files come from strangers. Sizes are checked against Limits when the header
// has been read, and a file too short for its declared size is refused, both
// before memory is taken for its pixels. A picture takes 3 bytes a pixel and,
// while it is decoded, 3 more for most files, up to 8 for PNG with alpha or 16
// bits, 9 for progressive JPEG and 12 for progressive CMYK: so a server must
// bound how many it decodes at once.
//
// PERFORMANCE.md has the figures.
package pixels
