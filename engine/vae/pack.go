package vae

// patch is how many cells a side of the latents one packed token holds.
const patch = 2

// Unpack takes packed tokens (h/2*w/2, 4*C), row major, apart into latents
// (C,h,w); dst and src have C*h*w elements, h and w are even. It is the inverse
// of Pack.
func Unpack(dst, src []float32, channels, height, width int) {
	pairs(channels, height, width, func(row, token, features int) {
		for range width / patch {
			pair := src[token : token+patch]
			dst[row], dst[row+1] = pair[0], pair[1]
			row, token = row+patch, token+features
		}
	})
}

// Pack joins each 2x2 square of the latents src (C,h,w) to one token of dst
// (h/2*w/2, 4*C), as FLUX and Qwen-Image do (_pack_latents of diffusers' FLUX
// pipeline): feature c*4+dy*2+dx of token (y,x) is channel c of cell
// (2y+dy, 2x+dx).
func Pack(dst, src []float32, channels, height, width int) {
	pairs(channels, height, width, func(row, token, features int) {
		for range width / patch {
			pair := src[row : row+patch]
			dst[token], dst[token+1] = pair[0], pair[1]
			row, token = row+patch, token+features
		}
	})
}

// pairs visits every row of the latents: where it begins, where its first two
// cells stand among the tokens, and how far apart one pair stands from the next.
func pairs(channels, height, width int, visit func(row, token, features int)) {
	features := channels * patch * patch
	for c := range channels {
		for y := range height {
			token := y/patch*(width/patch)*features + c*patch*patch + y%patch*patch
			visit((c*height+y)*width, token, features)
		}
	}
}
