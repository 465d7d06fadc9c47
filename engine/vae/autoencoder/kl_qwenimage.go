package autoencoder

// parseQwenImage reads an AutoencoderKLQwenImage: Wan 2.1's decoder under other
// names of its keys (models/autoencoders/autoencoder_kl_qwenimage.py).
func parseQwenImage(data []byte) (Config, error) {
	f := wanFile{
		BaseDim: new(96), ZDim: new(16), DimMult: []int{1, 2, 4, 4}, ResBlocks: new(2),
		TemporalDownscale: []bool{false, true, true}, OutChannels: new(3),
		LatentsMean: wanMean(), LatentsStd: wanStd(),
	}
	var named struct {
		Channels *int `json:"input_channels"`
	}
	if err := decodeJSON(data, &named); err != nil {
		return Config{}, err
	}
	if named.Channels != nil { // of the image, on both sides
		f.OutChannels = named.Channels
	}
	return parseWanFile(data, f, false)
}
