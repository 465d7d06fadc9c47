package autoencoder

import (
	"reflect"
	"testing"
)

func TestAbsentKeysHaveDiffusersDefaults(t *testing.T) {
	for _, c := range []struct {
		class                string
		channels, pixelScale int
		network              architecture
	}{
		{classKL, 4, 1, klDecoder{
			channels: 4, widths: []int{64}, layers: []int{2}, groups: 32, attention: true, postQuantConv: true, out: 3,
		}},
		{classFlux2, 128, 16, klDecoder{
			channels: 32, widths: []int{512, 512, 256, 128}, layers: []int{3, 3, 3, 3}, groups: 32, attention: true, postQuantConv: true, out: 3,
		}},
		{classTiny, 4, 8, tinyDecoder{channels: 4, width: 64, layers: []int{3, 3, 3, 1}, upsampling: 2, out: 3}},
		{classWan, 16, 8, wanDecoder{
			channels: 16, widths: []int{384, 384, 192, 96}, layers: 3, temporal: []bool{true, true, false}, out: 3, patch: 1,
		}},
		{classQwenImage, 16, 8, wanDecoder{
			channels: 16, widths: []int{384, 384, 192, 96}, layers: 3, temporal: []bool{true, true, false}, out: 3, patch: 1,
		}},
		{classQwenImage21, 64, 16, wanDecoder{
			channels: 64, widths: []int{1152, 1152, 576, 288, 144}, layers: 3, temporal: []bool{true, true, true, false},
			residual: true, flat: true, out: 4, patch: 1,
		}},
	} {
		got, err := ParseConfig([]byte(`{"_class_name": "` + c.class + `"}`))
		if err != nil {
			t.Error(err)
			continue
		}
		if got.LatentChannels != c.channels || got.PixelScale() != c.pixelScale || !reflect.DeepEqual(got.network, c.network) {
			t.Errorf("%s: %d channels, %d pixels a cell, %+v\nwant %d, %d, %+v",
				c.class, got.LatentChannels, got.PixelScale(), got.network, c.channels, c.pixelScale, c.network)
		}
		statistics := map[string]int{classWan: 16, classQwenImage: 16, classQwenImage21: 64}[c.class]
		if len(got.LatentsMean) != statistics || len(got.LatentsStd) != statistics {
			t.Errorf("%s: %d means and %d deviations, want %d", c.class, len(got.LatentsMean), len(got.LatentsStd), statistics)
		}
		if scaling := map[string]float64{classKL: 0.18215}[c.class]; scaling != 0 && got.ScalingFactor != scaling {
			t.Errorf("%s: scaling factor %g", c.class, got.ScalingFactor)
		}
	}
	dc, err := ParseConfig([]byte(`{"_class_name": "AutoencoderDC"}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := dc.network.(dcDecoder); d.scale() != 32 || d.headSize != 32 || d.wholeFrom != len(d.stages) || d.stages[5].width != 1024 || d.interpolate || dc.Float32Only == "" {
		t.Errorf("AutoencoderDC: %+v", dc)
	}
}
