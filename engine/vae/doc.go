// Package vae turns latents into images with the decoders that diffusers
// saves, a file for each class: AutoencoderKL (SD3.5, FLUX.1, Z-Image, SDXL),
// AutoencoderKLFlux2, AutoencoderKLQwenImage, AutoencoderKLQwenImage21,
// AutoencoderKLWan for stills, AutoencoderDC (SANA) and AutoencoderTiny. The
// encoders are not needed and not read. The README's table says which model has
// which.
//
// Load reads a folder of config.json and safetensors, that of a whole pipeline,
// or a single file such as FLUX's ae.safetensors; writes the decoder as an ONNX
// graph whose weights stay where they lie; and opens a session. Decode takes a
// trainer's latents and gives 8-bit RGB. LoadPool does so on several devices.
//
// # Latents
//
// Latents are (N,C,h,w) or (N,C,1,h,w), row major, as the flow model has them:
// scaled and shifted, so that the decoder takes latents/scaling_factor +
// shift_factor, or latents*latents_std + latents_mean, or for FLUX.2, whose
// latents are the patchified ones of four times the channels,
// latents*sqrt(bn.running_var+eps) + bn.running_mean.
//
// Or they are packed tokens (N,L,D), row major: of 2x2 cells for FLUX.1 and
// Qwen-Image, D being 4C and feature c*4+dy*2+dx channel c of cell (2y+dy, 2x+dx);
// of one cell for FLUX.2, Qwen-Image 2.1 and SANA, D being C. Token or cell, it is
// one cell of the dense grid. float32, float16 and bfloat16 are read, each in one
// pass into the buffer that the session reads.
//
// # Images
//
// An image is what diffusers' image processor makes of the decoder's output x:
// x/2+0.5 clipped to [0,1], times 255, rounded to even. A fourth channel, opacity,
// is left out, as Pillow's convert("RGB") does. On a CPU the output agrees with
// diffusers' float32 to 2e-6 of its range. A sample whose latents, or whose image,
// hold NaN or infinity has an error of its own.
//
// # Memory
//
// The size of an image follows from the shape of its latents and is limited
// before anything is allocated (MaxPixels, MaxSide). RunPixels bounds the image
// pixels decoded at once. A batch is cut into runs, and an image that is larger
// still into tiles of one size, which overlap by a quarter and are blended. The
// part of a decoder whose attention sees the whole image is run on it whole, and
// tiles of an AutoencoderKL are normalised by the statistics of the whole image at
// the price of a second run over them, so that tiles give nearly what the whole
// gives; see tileDecoder. When memory runs out the decoder frees what its sessions
// hold and starts the call over with half of RunPixels. After a minute the double
// is tried.
//
// # Precision
//
// On a CPU decoders compute in float32. On CUDA they can in float16, the only
// half precision that its convolutions take, but for those that need float32
// (Config.Float32Only); in float32 they use TensorFloat-32 unless the provider's
// option use_tf32 is 0.
package vae
