package autoencoder

import (
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
)

// wanDecoder is the decoder of diffusers' AutoencoderKLWan
// (models/autoencoders/autoencoder_kl_wan.py, class WanDecoder3d) and of its
// descendants, for one frame. Of a causal convolution that begins with a frame,
// all slices of the kernel but the last meet zeros: it is the convolution in two
// dimensions with the last slice. The first frame passes by the convolutions in
// time that make two frames of one.
//
//	post_quant_conv          1x1
//	decoder.conv_in          3x3 to the first width
//	decoder.mid_block        residual block, attention, residual block
//	decoder.up_blocks.i      residual blocks, then twice the size but for the last
//	decoder.norm_out         normalise, silu
//	decoder.conv_out         3x3 to RGB
type wanDecoder struct {
	channels int // of z
	// widths are the channels of each stage in the order of the decoder.
	widths []int
	layers int // residual blocks of a stage
	// residual is the form of Wan 2.2: what enters a stage is added, enlarged, to
	// what leaves it, and the enlarging convolution keeps the width.
	residual bool
	temporal []bool // whether a stage, all but the last, also doubles the frames
	flat     bool   // the checkpoint's kernels have no dimension of time
	out      int    // channels of an image, patch aside
	patch    int    // pixels a side that the last convolution makes of a cell
}

var _ architecture = wanDecoder{}

// wanFile is config.json of an AutoencoderKLWan and its descendants.
type wanFile struct {
	BaseDim           *int      `json:"base_dim"`
	DecoderBaseDim    *int      `json:"decoder_base_dim"`
	ZDim              *int      `json:"z_dim"`
	DimMult           []int     `json:"dim_mult"`
	ResBlocks         *int      `json:"num_res_blocks"`
	TemporalDownscale []bool    `json:"temperal_downsample"` // so spelt
	IsResidual        *bool     `json:"is_residual"`
	OutChannels       *int      `json:"out_channels"`
	PatchSize         *int      `json:"patch_size"`
	LatentsMean       []float64 `json:"latents_mean"`
	LatentsStd        []float64 `json:"latents_std"`
}

// wanMean and wanStd are the statistics of the latents of Wan 2.1 and
// Qwen-Image, which their classes have as defaults.
func wanMean() []float64 {
	return []float64{
		-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
		0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
	}
}

func wanStd() []float64 {
	return []float64{
		2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
		3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
	}
}

func parseWan(data []byte) (Config, error) {
	return parseWanFile(data, wanFile{
		BaseDim: new(96), ZDim: new(16), DimMult: []int{1, 2, 4, 4}, ResBlocks: new(2),
		TemporalDownscale: []bool{false, true, true}, OutChannels: new(3),
		LatentsMean: wanMean(), LatentsStd: wanStd(),
	}, false)
}

// parseWanFile reads a configuration whose absent keys are those of f.
func parseWanFile(data []byte, f wanFile, flat bool) (Config, error) {
	if err := decodeJSON(data, &f); err != nil {
		return Config{}, err
	}
	for key, value := range map[string]*int{
		"base_dim": f.BaseDim, "z_dim": f.ZDim, "num_res_blocks": f.ResBlocks, "out_channels": f.OutChannels,
	} {
		if value == nil {
			return Config{}, fmt.Errorf("%s: null", key)
		}
	}
	d := wanDecoder{
		channels: *f.ZDim, layers: *f.ResBlocks + 1, residual: or(f.IsResidual, false), flat: flat,
		out: *f.OutChannels, patch: or(f.PatchSize, 1),
	}
	if err := d.stages(f); err != nil {
		return Config{}, err
	}
	if d.patch < 1 || d.patch > 4 || d.out%(d.patch*d.patch) != 0 {
		return Config{}, fmt.Errorf("patch_size: %d, for %d out_channels", d.patch, d.out)
	}
	d.out /= d.patch * d.patch
	return Config{
		LatentChannels: d.channels, ScalingFactor: 1,
		LatentsMean: f.LatentsMean, LatentsStd: f.LatentsStd,
		TokenSide: patch, network: d,
	}, outputChannels("out_channels", d.out)
}

// stages reads what becomes of the widths from stage to stage.
func (d *wanDecoder) stages(f wanFile) error {
	base := or(f.DecoderBaseDim, *f.BaseDim)
	multiples := slices.Clone(f.DimMult)
	slices.Reverse(multiples)
	var layers []int
	for _, m := range multiples {
		if m < 1 || m > maxWidth || base < 1 || base > maxWidth {
			return fmt.Errorf("dim_mult: %v times %d", f.DimMult, base)
		}
		d.widths, layers = append(d.widths, m*base), append(layers, d.layers)
	}
	if err := stages("dim_mult", d.widths, layers, 1); err != nil {
		return err
	}
	d.temporal = slices.Clone(f.TemporalDownscale)
	slices.Reverse(d.temporal)
	if len(d.temporal) < len(d.widths)-1 {
		return fmt.Errorf("temperal_downsample: %d for %d stages", len(d.temporal), len(d.widths))
	}
	width := d.widths[0]
	for i, out := range d.widths[:len(d.widths)-1] {
		if !d.residual && out%2 != 0 {
			return fmt.Errorf("dim_mult: a stage of %d channels cannot be halved", out)
		}
		if d.residual && d.copies(i, width, out) < 1 {
			return fmt.Errorf("dim_mult: %d channels do not make %d", width, out)
		}
		width = out
	}
	return nil
}

// copies is how many copies of each channel of what enters a stage the sum at
// its end takes, 0 if the widths do not allow for a whole number.
func (d *wanDecoder) copies(stage, in, out int) int {
	made := out * 4 * d.frames(stage)
	if made%in != 0 {
		return 0
	}
	return made / in
}

// frames is how many frames a stage makes of one.
func (d *wanDecoder) frames(stage int) int {
	if d.temporal[stage] {
		return 2
	}
	return 1
}

func (d wanDecoder) scale() int { return d.patch << (len(d.widths) - 1) }

func (d wanDecoder) hidden() (channels, scale int) { return d.widths[0], 1 }

// groupNorms is none: its normalisations see one cell each.
func (d wanDecoder) groupNorms() (norms, groups int) { return 0, 0 }

func (d wanDecoder) clamps() bool { return true }

func (d wanDecoder) global(n *network, z onnx.Value) onnx.Value {
	z = d.conv(n, z, "post_quant_conv", d.channels, d.channels, 1)
	width := d.widths[0]
	x := d.conv(n, z, "decoder.conv_in", d.channels, width, 3)
	x = d.block(n, x, "decoder.mid_block.resnets.0", width, width)
	x = d.attention(n, x, "decoder.mid_block.attentions.0", width)
	return d.block(n, x, "decoder.mid_block.resnets.1", width, width)
}

func (d wanDecoder) local(n *network, x onnx.Value) onnx.Value {
	width := d.widths[0]
	for i, out := range d.widths {
		stage := fmt.Sprintf("decoder.up_blocks.%d", i)
		entered, in := x, width
		for j := range d.layers {
			x = d.block(n, x, fmt.Sprintf("%s.resnets.%d", stage, j), width, out)
			width = out
		}
		switch {
		case i == len(d.widths)-1:
		case d.residual:
			// The sum is written last so that its terms have one size.
			short := d.enlarged(n, entered, i, in, out)
			x = n.conv(n.upsample(x, 2), stage+".upsampler.resample.1", out, out, 3, true)
			x = n.g.Add(x, short)
		default:
			width = out / 2
			x = n.conv(n.upsample(x, 2), stage+".upsamplers.0.resample.1", out, width, 3, true)
		}
	}
	x = n.g.Silu(d.norm(n, x, "decoder.norm_out", width, 3))
	x = d.conv(n, x, "decoder.conv_out", width, d.out*d.patch*d.patch, 3)
	if d.patch == 1 {
		return x
	}
	// unpatchify takes a patch's column from the slower of its two indices.
	var order []int64
	for c := range d.out {
		for dy := range d.patch {
			for dx := range d.patch {
				order = append(order, int64((c*d.patch+dx)*d.patch+dy))
			}
		}
	}
	return n.shuffle(n.pick(x, order), d.patch)
}

// conv is a causal convolution, WanCausalConv3d, of one frame.
func (d wanDecoder) conv(n *network, x onnx.Value, prefix string, in, out, kernel int) onnx.Value {
	if d.flat {
		return n.conv(x, prefix, in, out, kernel, true)
	}
	return n.convFrame(x, prefix, in, out, kernel)
}

// norm is WanRMS_norm: x over its length along the channels, times the root of
// their number and gamma, which has so many more dimensions.
func (d wanDecoder) norm(n *network, x onnx.Value, prefix string, channels, dims int) onnx.Value {
	shape := []int{channels, 1, 1, 1}
	gamma := n.g.Reshape(n.tensor(prefix+".gamma", n.dtype, shape[:1+dims]...), onnx.N(int64(channels)))
	// torch's normalize divides by at least 1e-12.
	return n.rmsNorm(x, gamma, onnx.Value{}, 1e-24/float32(channels))
}

// block is WanResidualBlock.
func (d wanDecoder) block(n *network, x onnx.Value, prefix string, in, out int) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		h := n.g.Silu(d.norm(n, x, prefix+".norm1", in, 3))
		h = d.conv(n, h, prefix+".conv1", in, out, 3)
		h = n.g.Silu(d.norm(n, h, prefix+".norm2", out, 3))
		h = d.conv(n, h, prefix+".conv2", out, out, 3)
		if in != out {
			x = d.conv(n, x, prefix+".conv_shortcut", in, out, 1)
		}
		sum = n.g.Add(x, h)
	})
	return sum
}

// attention is WanAttentionBlock: x plus the attention of every cell of the
// normalised x to every other, in one head.
func (d wanDecoder) attention(n *network, x onnx.Value, prefix string, width int) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		rows := n.rows(d.norm(n, x, prefix+".norm", width, 2))
		w := int64(width)
		qkv := n.g.Split(n.linear(rows, prefix+".to_qkv", width, 3*width), 2, w, w, w)
		attended := n.attend(qkv[0], qkv[1], qkv[2], width)
		sum = n.g.Add(x, n.cells(n.linear(attended, prefix+".proj", width, width), x))
	})
	return sum
}

// enlarged is DupUp3D of a first frame: channels are repeated and laid out as
// pixels, and of two frames that makes, the second stays.
func (d wanDecoder) enlarged(n *network, x onnx.Value, stage, in, out int) onnx.Value {
	copies, frames := d.copies(stage, in, out), d.frames(stage)
	order := make([]int64, 0, 4*out)
	for c := range out {
		for pixel := range 4 {
			order = append(order, int64(((c*frames+frames-1)*4+pixel)/copies))
		}
	}
	scale := n.scale
	x = n.shuffle(n.pick(x, order), 2)
	n.scale = scale // the main path counts it
	return x
}
