package autoencoder

import (
	"encoding/json"
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// dcDecoder is the decoder of diffusers' AutoencoderDC, of SANA, as
// models/autoencoders/autoencoder_dc.py (class Decoder) has it:
//
//	decoder.conv_in          3x3 to the last width, plus the latents repeated
//	decoder.up_blocks.i      from the last: twice the size, then blocks
//	decoder.norm_out         normalise, activation
//	decoder.conv_out         3x3 to RGB
//
// A stage's blocks are residual ones, or have linear attention, which sees the
// whole image. Its channels come first on every device: kernels for channels
// last have no groups there.
type dcDecoder struct {
	channels    int       // of z
	stages      []dcStage // from the image to the latents, as they are numbered
	headSize    int
	interpolate bool // enlarge by repetition, not by laying channels out as pixels
	shortcut    bool // of conv_in
	act         string
	out         int
	wholeFrom   int // stages from this one on see the whole image
}

type dcStage struct {
	width, layers int
	attention     bool
	norm, act     string
	scales        []int // kernels that attention looks at besides the cells themselves
}

var _ architecture = dcDecoder{}

// dcFile is config.json of an AutoencoderDC.
type dcFile struct {
	InChannels     *int     `json:"in_channels"` // of the image, on both sides
	LatentChannels *int     `json:"latent_channels"`
	HeadSize       *int     `json:"attention_head_dim"`
	BlockTypes     eachOf   `json:"decoder_block_types"`
	Widths         []int    `json:"decoder_block_out_channels"`
	Layers         []int    `json:"decoder_layers_per_block"`
	Scales         [][]int  `json:"decoder_qkv_multiscales"`
	NormTypes      eachOf   `json:"decoder_norm_types"`
	ActFns         eachOf   `json:"decoder_act_fns"`
	Upsample       *string  `json:"upsample_block_type"`
	Shortcut       *bool    `json:"decoder_in_shortcut"`
	ConvAct        *string  `json:"decoder_conv_act_fn"`
	ScalingFactor  *float64 `json:"scaling_factor"`
}

// eachOf is one text for all stages, or one for each.
type eachOf []string

// UnmarshalJSON reads a string or a list of them.
func (e *eachOf) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*e = eachOf{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(e))
}

// of is the text for stage i of n.
func (e eachOf) of(key string, i, n int, otherwise string) (string, error) {
	switch len(e) {
	case 0:
		return otherwise, nil
	case 1:
		return e[0], nil
	case n:
		return e[i], nil
	}
	return "", fmt.Errorf("%s: %d for %d stages", key, len(e), n)
}

func parseDC(data []byte) (Config, error) {
	var f dcFile
	if err := decodeJSON(data, &f); err != nil {
		return Config{}, err
	}
	d := dcDecoder{
		channels: or(f.LatentChannels, 32), headSize: or(f.HeadSize, 32), shortcut: or(f.Shortcut, true),
		act: or(f.ConvAct, "relu"), out: or(f.InChannels, 3),
	}
	switch up := or(f.Upsample, "pixel_shuffle"); up {
	case "interpolate", "pixel_shuffle":
		d.interpolate = up == "interpolate"
	default:
		return Config{}, fmt.Errorf("upsample_block_type: %.80q is neither pixel_shuffle nor interpolate", up)
	}
	if activation(d.act) == nil {
		return Config{}, fmt.Errorf("decoder_conv_act_fn: %.80q is not silu, relu or gelu", d.act)
	}
	if err := d.read(f); err != nil {
		return Config{}, err
	}
	c := Config{
		LatentChannels: d.channels, ScalingFactor: or(f.ScalingFactor, 1), TokenSide: 1, network: d,
		Float32Only: "sums of its linear attention run over the whole image, and pipelines decode in float32 or bfloat16",
	}
	return c, outputChannels("in_channels", d.out)
}

func (d *dcDecoder) read(f dcFile) error {
	if f.Widths == nil {
		f.Widths = []int{128, 256, 512, 512, 1024, 1024}
	}
	if f.Layers == nil {
		f.Layers = []int{3, 3, 3, 3, 3, 3}
	}
	if f.Scales == nil {
		f.Scales = [][]int{{}, {}, {}, {5}, {5}, {5}}
	}
	if err := stages("decoder_block_out_channels", f.Widths, f.Layers, 0); err != nil {
		return err
	}
	n := len(f.Widths)
	d.wholeFrom = n
	for i := range n {
		s, err := f.stage(i, n)
		if err != nil {
			return err
		}
		if s.attention && d.wholeFrom == n {
			d.wholeFrom = i
		}
		d.stages = append(d.stages, s)
	}
	return d.checkWidths()
}

func (f dcFile) stage(i, n int) (dcStage, error) {
	s := dcStage{width: f.Widths[i], layers: f.Layers[i]}
	kind, err := f.BlockTypes.of("decoder_block_types", i, n, "ResBlock")
	if err != nil {
		return s, err
	}
	if s.norm, err = f.NormTypes.of("decoder_norm_types", i, n, "rms_norm"); err != nil {
		return s, err
	}
	if s.act, err = f.ActFns.of("decoder_act_fns", i, n, "silu"); err != nil {
		return s, err
	}
	switch kind {
	case "ResBlock":
	case "EfficientViTBlock":
		s.attention = s.layers > 0
	default:
		return s, fmt.Errorf("decoder_block_types[%d]: %.80q is neither ResBlock nor EfficientViTBlock", i, kind)
	}
	if s.norm != "rms_norm" && s.norm != "batch_norm" {
		return s, fmt.Errorf("decoder_norm_types[%d]: %.80q is neither rms_norm nor batch_norm", i, s.norm)
	}
	if activation(s.act) == nil {
		return s, fmt.Errorf("decoder_act_fns[%d]: %.80q is not silu, relu or gelu", i, s.act)
	}
	if s.attention {
		if i >= len(f.Scales) {
			return s, fmt.Errorf("decoder_qkv_multiscales: %d for %d stages", len(f.Scales), n)
		}
		s.scales = f.Scales[i]
		for _, k := range s.scales {
			if k < 1 || k > 31 || k%2 == 0 {
				return s, fmt.Errorf("decoder_qkv_multiscales[%d]: a kernel of %d: want an odd number up to 31", i, k)
			}
		}
	}
	return s, nil
}

// checkWidths tells whether channels of one stage make whole ones of the next.
func (d *dcDecoder) checkWidths() error {
	last := len(d.stages) - 1
	if d.channels < 1 || d.shortcut && d.stages[last].width%d.channels != 0 {
		return fmt.Errorf("latent_channels: %d do not divide the last width, %d", d.channels, d.stages[last].width)
	}
	if d.stages[last].layers == 0 || last == 0 && d.stages[0].layers == 0 {
		return fmt.Errorf("decoder_layers_per_block: none in the stage of the latents")
	}
	width := d.stages[last].width
	for i := last; i >= 0; i-- {
		s := d.stages[i]
		if s.attention && (d.headSize < 1 || s.width < d.headSize) {
			return fmt.Errorf("attention_head_dim: %d for %d channels", d.headSize, s.width)
		}
		if i == last || s.layers == 0 {
			continue
		}
		if 4*s.width%width != 0 || 4*s.width < width {
			return fmt.Errorf("decoder_block_out_channels: %d channels do not make %d", width, s.width)
		}
		width = s.width
	}
	return nil
}

// upsamplings counts the stages, of those from stage from on, that double the
// size before their blocks.
func (d dcDecoder) upsamplings(from int) int {
	n := 0
	for i := from; i < len(d.stages)-1; i++ {
		if d.stages[i].layers > 0 {
			n++
		}
	}
	return n
}

func (d dcDecoder) scale() int {
	scale := 1 << d.upsamplings(0)
	if d.stages[0].layers == 0 {
		scale *= 2 // by the last convolution
	}
	return scale
}

func (d dcDecoder) hidden() (channels, scale int) {
	if d.wholeFrom == len(d.stages) {
		return 0, 1
	}
	return d.stages[d.wholeFrom].width, 1 << d.upsamplings(d.wholeFrom)
}

func (d dcDecoder) groupNorms() (norms, groups int) { return 0, 0 }

func (d dcDecoder) clamps() bool { return false }

func (d dcDecoder) global(n *network, z onnx.Value) onnx.Value {
	if d.wholeFrom == len(d.stages) {
		return z
	}
	return d.up(n, d.begin(n, z), d.stages[len(d.stages)-1].width, len(d.stages)-1, d.wholeFrom)
}

func (d dcDecoder) local(n *network, x onnx.Value) onnx.Value {
	from := min(d.wholeFrom, len(d.stages))
	if from == len(d.stages) {
		x = d.begin(n, x)
	}
	width := d.stages[min(from, len(d.stages)-1)].width
	x = d.up(n, x, width, from-1, 0)
	for i := range d.stages {
		if d.stages[i].layers > 0 {
			width = d.stages[i].width
			break
		}
	}
	x = activation(d.act)(n.g, d.rmsNorm(n, x, "decoder.norm_out", width))
	if d.stages[0].layers > 0 {
		return n.conv(x, "decoder.conv_out", width, d.out, 3, true)
	}
	return d.enlarge(n, x, "decoder.conv_out", width, d.out, false)
}

// begin is conv_in, plus the latents repeated to its channels.
func (d dcDecoder) begin(n *network, z onnx.Value) onnx.Value {
	width := d.stages[len(d.stages)-1].width
	x := n.conv(z, "decoder.conv_in", d.channels, width, 3, true)
	if d.shortcut {
		x = n.g.Add(x, n.pick(z, copies(width, width/d.channels)))
	}
	return x
}

// copies lists each channel so many times in a row, n in all.
func copies(n, times int) []int64 {
	order := make([]int64, n)
	for i := range order {
		order[i] = int64(i / times)
	}
	return order
}

// up writes the stages from first down to last; x has width channels.
func (d dcDecoder) up(n *network, x onnx.Value, width, first, last int) onnx.Value {
	for i := first; i >= last; i-- {
		s := d.stages[i]
		block := 0
		next := func() string {
			block++
			return fmt.Sprintf("decoder.up_blocks.%d.%d", i, block-1)
		}
		if i < len(d.stages)-1 && s.layers > 0 {
			x = d.enlarge(n, x, next(), width, s.width, true)
			width = s.width
		}
		for range s.layers {
			if s.attention {
				x = d.attentionBlock(n, x, next(), s)
			} else {
				x = d.residual(n, x, next(), s)
			}
		}
	}
	return x
}

// enlarge is DCUpBlock2d: twice the size, to out channels, plus x itself repeated
// and laid out as pixels where shortcut is set.
func (d dcDecoder) enlarge(n *network, x onnx.Value, prefix string, in, out int, shortcut bool) (y onnx.Value) {
	n.g.Scope(prefix, func() {
		scale := n.scale
		if d.interpolate {
			y = n.conv(n.upsample(x, 2), prefix+".conv", in, out, 3, true)
		} else {
			y = n.shuffle(n.conv(x, prefix+".conv", in, 4*out, 3, true), 2)
		}
		if shortcut {
			n.scale = scale
			y = n.g.Add(y, n.shuffle(n.pick(x, copies(4*out, 4*out/in)), 2))
		}
	})
	return y
}

// residual is ResBlock: x plus the normalised result of two convolutions.
func (d dcDecoder) residual(n *network, x onnx.Value, prefix string, s dcStage) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		h := activation(s.act)(n.g, n.conv(x, prefix+".conv1", s.width, s.width, 3, true))
		h = n.conv(h, prefix+".conv2", s.width, s.width, 3, false)
		sum = n.g.Add(x, d.norm(n, h, prefix+".norm", s))
	})
	return sum
}

// norm is the normalisation of a stage's blocks.
func (d dcDecoder) norm(n *network, x onnx.Value, prefix string, s dcStage) onnx.Value {
	if s.norm == "batch_norm" {
		return n.batchNorm(x, prefix, s.width)
	}
	return d.rmsNorm(n, x, prefix, s.width)
}

func (d dcDecoder) rmsNorm(n *network, x onnx.Value, prefix string, channels int) onnx.Value {
	return n.rmsNorm(x, n.tensor(prefix+".weight", n.dtype, channels), n.tensor(prefix+".bias", n.dtype, channels), 1e-5)
}

// attentionBlock is EfficientViTBlock: linear attention, then a gated
// convolution, each added to what enters it.
func (d dcDecoder) attentionBlock(n *network, x onnx.Value, prefix string, s dcStage) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		x = n.g.Add(x, d.norm(n, d.attention(n, x, prefix+".attn", s), prefix+".attn.norm_out", s))
		sum = n.g.Add(x, d.gated(n, x, prefix+".conv_out", s.width))
	})
	return sum
}

// gated is GLUMBConv with an expansion by four.
func (d dcDecoder) gated(n *network, x onnx.Value, prefix string, width int) onnx.Value {
	g, inner := n.g, 4*width
	h := g.Silu(n.conv(x, prefix+".conv_inverted", width, 2*inner, 1, true))
	h = n.convGroups(h, prefix+".conv_depth", 2*inner, 3, 2*inner, true)
	halves := g.Split(h, 1, int64(inner), int64(inner))
	h = n.conv(g.Mul(halves[0], g.Silu(halves[1])), prefix+".conv_point", inner, width, 1, false)
	return d.rmsNorm(n, h, prefix+".norm", width)
}

// attention is SanaMultiscaleLinearAttention up to its normalisation. Queries,
// keys and values, and those convolved at each scale, are cut into heads of
// 3*headSize channels. The similarity of a query and a key is the product of
// their positive parts, so that the sums over all keys are taken once for all
// queries; they are summed in float32.
func (d dcDecoder) attention(n *network, x onnx.Value, prefix string, s dcStage) onnx.Value {
	g := n.g
	heads := s.width / d.headSize
	inner := heads * d.headSize
	var parts []onnx.Value
	for _, name := range []string{"to_q", "to_k", "to_v"} {
		parts = append(parts, n.conv(x, prefix+"."+name, s.width, inner, 1, false))
	}
	qkv := g.Concat(1, onnx.Dim{}, parts...)
	all := []onnx.Value{qkv}
	for i, kernel := range s.scales {
		at := fmt.Sprintf("%s.to_qkv_multiscale.%d", prefix, i)
		wide := n.convGroups(qkv, at+".proj_in", 3*inner, kernel, 3*inner, false)
		all = append(all, n.convGroups(wide, at+".proj_out", 3*inner, 1, 3*heads, false))
	}
	total := int64(heads * len(all))
	size := int64(d.headSize)
	joined := g.Cast(g.Concat(1, onnx.Dim{}, all...), onnx.Float32)
	cut := g.Reshape(joined, joined.Dim(0), onnx.N(total), onnx.N(3*size), joined.Dim(2).Times(joined.Dim(3)))
	three := g.Split(cut, 2, size, size, size)
	query, key, value := g.Relu(three[0]), g.Relu(three[1]), three[2]

	weighted := g.MatMul(g.MatMulT(value, key, 1), query) // (N,total,size,L)
	weights := g.MatMul(g.Transpose(g.ReduceSum(key, 3, true), 0, 1, 3, 2), query)
	attended := g.Div(weighted, g.Add(weights, onnx.Scalar(g, float32(1e-15))))
	n.linearly(2 * int(total*size*size))

	sizes := g.Concat(0, onnx.Dim{}, g.SizeOf(x, 0), onnx.Const(g, []int64{total * size}, 1), g.SizeOf(x, 2), g.SizeOf(x, 3))
	flat := g.ReshapeLike(attended, sizes, x.Dim(0), onnx.N(total*size), x.Dim(2), x.Dim(3))
	return n.conv(g.Cast(flat, n.dtype), prefix+".to_out", int(total*size), s.width, 1, false)
}

// activation is the one that a configuration names, nil for others.
func activation(name string) func(*onnx.Graph, onnx.Value) onnx.Value {
	switch name {
	case "silu", "swish":
		return (*onnx.Graph).Silu
	case "relu":
		return (*onnx.Graph).Relu
	case "gelu":
		return (*onnx.Graph).Gelu
	}
	return nil
}
