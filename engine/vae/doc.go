// Package vae turns latents into pictures with the decoders of diffusers:
// AutoencoderKL (SD3, SD3.5, FLUX, and the older layout with a post-quant
// convolution) and AutoencoderTiny (TAESD and its relatives).
package vae
