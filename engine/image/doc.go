// Package image turns image files and tensors into RGB images, with the bytes that
// the Python reference's libraries give. Each codec is a package below; resizing
// is in package resize.
//
// Conventions. A reward.Image is 8-bit RGB, interleaved, row major, without
// padding. Sizes are width before height in images and files, height before width
// in tensors and heatmaps, as their own fields have it. Functions do not change
// the images they are given; those they return belong to the caller, but for a
// uint8 tensor in (height, width, 3), which FromTensor wraps.
//
// PNG, JPEG and WebP decode to what Pillow's Image.open and convert("RGB") give,
// byte for byte: all PNG colour types, depths and interlace; JPEG as libjpeg with
// its default settings; WebP as libwebp with its own. Alpha is dropped, not
// blended; an EXIF orientation is ignored.
//
// What is not decoded: animated WebP; JPEG of 12 bits, lossless or with
// arithmetic coding. What libjpeg shows in part, with a warning, is an error:
// an image that is half noise must not be scored.
//
// Files come from strangers. Sizes are checked against Limits when the header
// has been read, and a file too short for its declared size is refused, both
// before memory is taken for its pixels. An image takes 3 bytes a pixel and,
// while it is decoded, 3 more for most files, up to 8 for PNG with alpha or 16
// bits, 9 for progressive JPEG and 12 for progressive CMYK: so a server must
// bound how many it decodes at once.
//
// PERFORMANCE.md has the figures.
package image
