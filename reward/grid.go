package reward

// GridSpec asks for a dense grid: a preset of package dense by name, or a
// height and width in cells. The zero value is the preset "sd3" for images
// and the latents' own grid for latents.
type GridSpec struct {
	Preset        string
	Height, Width int
}

// TokenGrid is the grid of packed latents (N,L,D) whose tokens g names: those of
// Height*Width = L. It is 0 and 0 for any others.
func (g GridSpec) TokenGrid(shape []int) (height, width int) {
	if len(shape) == 3 && g.Height > 0 && g.Height*g.Width == shape[1] {
		return g.Height, g.Width
	}
	return 0, 0
}
