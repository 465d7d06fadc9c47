package reward

// GridSpec asks for a dense grid: a preset of package dense by name, or a
// height and width in cells. The zero value is the preset "sd3" for images
// and the latents' own grid for latents.
type GridSpec struct {
	Preset        string
	Height, Width int
}
