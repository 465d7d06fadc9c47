// Package vae turns latents into pictures with the decoders that diffusers
// saves: AutoencoderKL (SD3, SD3.5, FLUX, and the older layout with a
// post-quant convolution) and AutoencoderTiny (TAESD and its relatives). The
// encoders are not needed and not read.
//
// Load reads a folder of config.json and safetensors, writes the decoder as an
// ONNX graph whose weights stay where they lie, and opens a session. Decode
// takes a trainer's latents and gives 8-bit RGB. LoadPool does so on several
// devices.
//
// # Latents
//
// Latents are (N,C,h,w), row major, as the flow model has them: scaled and
// shifted, so that the decoder takes latents/scaling_factor + shift_factor. Or
// they are the packed tokens of FLUX and Qwen-Image, (N,h/2*w/2,4C), whose
// feature c*4+dy*2+dx is channel c of cell (2y+dy, 2x+dx). A cell is 8 picture
// pixels a side (PixelScale). float32, float16 and bfloat16 are read, each in
// one pass into the buffer that the session reads.
//
// # Pictures
//
// A picture is what diffusers' image processor makes of the decoder's output x:
// x/2+0.5 clipped to [0,1], times 255, rounded to even. On a CPU the output
// agrees with diffusers' float32 to 1e-6 of its range.
//
// # Memory
//
// RunPixels bounds the picture pixels decoded at once. A batch is cut into runs
// and a picture that is larger still into tiles of one size, which overlap by a
// quarter and are blended. An AutoencoderKL's tiles are normalised by the
// statistics of the whole picture, and its attention sees the whole picture, so
// that tiles give nearly what the whole gives, at twice the work; see
// tileDecoder. When memory runs out the decoder frees what its sessions hold and
// starts the call over with half of RunPixels. After a minute the double is tried.
//
// # Precision
//
// On a CPU decoders compute in float32. On CUDA they can in float16, the only
// half precision that its convolutions take; in float32 they use TensorFloat-32
// unless the provider's option use_tf32 is 0.
package vae
