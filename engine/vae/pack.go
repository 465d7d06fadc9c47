package vae

// Unpack takes packed tokens (h/side*w/side, side*side*C), row major, apart into
// latents (C,h,w); dst and src have C*h*w elements, h and w are multiples of side.
// It is the inverse of Pack.
func Unpack(dst, src []float32, channels, height, width, side int) {
	runs(channels, height, width, side, func(row, token, step int) {
		for range width / side {
			for dx := range side {
				dst[row+dx] = src[token+dx]
			}
			row, token = row+side, token+step
		}
	})
}

// Pack joins each side x side square of the latents src (C,h,w) to one token of
// dst (h/side*w/side, side*side*C): with a side of 2 as FLUX and Qwen-Image do
// (_pack_latents of diffusers' FLUX pipeline), feature c*4+dy*2+dx of token (y,x)
// is channel c of cell (2y+dy, 2x+dx); with a side of 1 as FLUX.2 and Qwen-Image
// 2.1 do, feature c is channel c.
func Pack(dst, src []float32, channels, height, width, side int) {
	runs(channels, height, width, side, func(row, token, step int) {
		for range width / side {
			for dx := range side {
				dst[token+dx] = src[row+dx]
			}
			row, token = row+side, token+step
		}
	})
}

// runs visits every row of the latents: where it begins, where its first cells
// stand among the tokens, and how far apart the cells of one token stand from
// those of the next.
func runs(channels, height, width, side int, visit func(row, token, step int)) {
	features := channels * side * side
	for c := range channels {
		for y := range height {
			token := y/side*(width/side)*features + c*side*side + y%side*side
			visit((c*height+y)*width, token, features)
		}
	}
}
