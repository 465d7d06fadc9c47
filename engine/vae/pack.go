package vae

// patch is how many cells a side of the latents one packed token holds.
const patch = 2

// Unpack takes packed tokens (h/2*w/2, 4*C), row major, apart into latents
// (C,h,w); dst and src have C*h*w elements, h and w are even. It is the inverse
// of Pack.
func Unpack(dst, src []float32, channels, height, width int) {
	each(channels, height, width, func(latent, token int) { dst[latent] = src[token] })
}

// Pack joins each 2x2 square of the latents src (C,h,w) to one token of dst
// (h/2*w/2, 4*C), as FLUX and Qwen-Image do (_pack_latents of diffusers' FLUX
// pipeline): feature c*4+dy*2+dx of token (y,x) is channel c of cell
// (2y+dy, 2x+dx).
func Pack(dst, src []float32, channels, height, width int) {
	each(channels, height, width, func(latent, token int) { dst[token] = src[latent] })
}

// each visits every element by its place in the latents and in the tokens.
func each(channels, height, width int, visit func(latent, token int)) {
	features := channels * patch * patch
	latent := 0
	for c := range channels {
		for y := range height {
			row := y/patch*(width/patch)*features + c*patch*patch + y%patch*patch
			for x := range width {
				visit(latent, row+x/patch*features+x%patch)
				latent++
			}
		}
	}
}
