package clip

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/internal/modelfile"
	"github.com/denseflow/densereward/reward"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Precision is the type in which a model computes.
type Precision int

// Precisions. Automatic is float32 on a CPU and float16 on a GPU, whose three more
// bits of mantissa than bfloat16's matter to scores that lie close together.
const (
	Automatic Precision = iota
	Float32
	Float16
	BFloat16
)

// Options say how a model runs. Runtime is required.
type Options struct {
	Runtime   *ort.Runtime
	Provider  ort.Provider
	Threads   int // of a CPU; 0 is one per core
	Precision Precision
	// MaxBatch is how many images or texts go through a tower at once; 0 is 32.
	MaxBatch int
	// CachedTexts is how many prompts' embeddings are kept; 0 is 4096.
	CachedTexts int
	// Patches computes what the patches of an image come to as well, for the
	// experimental relevance map.
	Patches bool
	// Tokenizer is a folder with the tokenizer's files, or one of them; "" is the
	// weights' own folder. Published weights of HPSv2 come without any.
	Tokenizer string
}

const (
	defaultMaxBatch    = 32
	defaultCachedTexts = 4096
)

// Model is CLIP on ONNX Runtime. It is safe for concurrent use.
type Model struct {
	config       Config
	options      Options
	preprocessor *Preprocessor
	tokenizer    *tokenizer.Tokenizer
	begin, end   int32 // tokens around a text
	scale        float64
	fingerprint  string
	cleans       bool // text as open_clip does

	text, image *ort.Session
	texts       *lru.Cache[string, []float32] // normalised embeddings
}

// checkpoint is where a model's weights lie.
type checkpoint interface {
	initializers.Source
	Read(name string) ([]byte, error)
	Fingerprint() (string, error)
	Folder() string
	Unchanged() error
}

// maxFileBytes bounds each of the files beside the weights.
const maxFileBytes = 64 << 20

// Load opens the checkpoint at path: a folder with config.json, safetensors, the
// tokenizer's files and, where it is, preprocessor_config.json; or one as open_clip
// has it, with open_clip_config.json and a torch file; or that file itself. Without
// a configuration the shapes of the tensors tell that of a ViT-H, as HPSv2 is, and
// its like. A tensor that is missing or has another shape than the configuration
// demands is an error that names it. The model must be closed.
func Load(path string, o Options) (*Model, error) {
	dir, weights, err := openWeights(path)
	if err != nil {
		return nil, fmt.Errorf("clip: %w", err)
	}
	config, preprocessor, err := findConfig(dir, weights)
	if err != nil {
		return nil, err
	}
	return load(dir, config, preprocessor, weights, o)
}

// load makes a model of what has been read.
func load(dir string, config Config, p *Preprocessor, weights checkpoint, o Options) (*Model, error) {
	m := &Model{config: config, options: o.withDefaults(), preprocessor: p}
	texts, err := tokenizerFolder(dir, o.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("clip: tokenizer: %w", err)
	}
	if m.tokenizer, err = tokenizer.LoadFolder(texts); err != nil {
		return nil, fmt.Errorf("clip: %w", err)
	}
	if err := m.findEnds(); err != nil {
		return nil, err
	}
	m.cleans = isOpenCLIP(weights.Tensor)
	if m.scale, err = logitScale(weights); err != nil {
		return nil, err
	}
	if m.fingerprint, err = fingerprint(dir, texts, weights, m.options); err != nil {
		return nil, err
	}
	if m.texts, err = lru.New[string, []float32](m.options.CachedTexts); err != nil {
		return nil, fmt.Errorf("clip: %w", err)
	}
	return m, m.open(weights)
}

func (o Options) withDefaults() Options {
	if o.MaxBatch <= 0 {
		o.MaxBatch = defaultMaxBatch
	}
	if o.CachedTexts <= 0 {
		o.CachedTexts = defaultCachedTexts
	}
	if o.Precision == Automatic {
		o.Precision = Float32
		if o.Provider.Kind == ort.CUDA {
			o.Precision = Float16
		}
	}
	return o
}

func (o Options) dtype() onnx.DType {
	switch o.Precision {
	case Float16:
		return onnx.Float16
	case BFloat16:
		return onnx.BFloat16
	}
	return onnx.Float32
}

// findEnds finds the tokens that stand around a text.
func (m *Model) findEnds() error {
	for _, t := range []struct {
		token string
		id    *int32
	}{{"<|startoftext|>", &m.begin}, {"<|endoftext|>", &m.end}} {
		id, ok := m.tokenizer.TokenID(t.token)
		if !ok {
			return fmt.Errorf("clip: the tokenizer has no token %s", t.token)
		}
		if int(id) >= m.config.VocabSize {
			return fmt.Errorf("clip: token %s has the id %d, the model's vocabulary %d rows", t.token, id, m.config.VocabSize)
		}
		*t.id = id
	}
	if m.tokenizer.Size() > m.config.VocabSize {
		return fmt.Errorf("clip: the tokenizer has %d tokens, the model's vocabulary %d rows", m.tokenizer.Size(), m.config.VocabSize)
	}
	return nil
}

// logitScale is exp of the checkpoint's logit_scale.
func logitScale(weights checkpoint) (float64, error) {
	values, shape, err := readFloats(weights, "logit_scale")
	if err != nil {
		return 0, fmt.Errorf("clip: %w", err)
	}
	if len(values) != 1 {
		return 0, fmt.Errorf("clip: tensor logit_scale has shape %v, not one value", shape)
	}
	scale := math.Exp(float64(values[0]))
	if math.IsNaN(scale) || math.IsInf(scale, 0) {
		return 0, fmt.Errorf("clip: logit_scale is %v", values[0])
	}
	return scale, nil
}

// floats reads a tensor of float32, float16 or bfloat16.
func floats(t safetensors.Tensor, data []byte) ([]float32, error) {
	switch t.DType {
	case safetensors.F32:
		values := make([]float32, len(data)/4)
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		return values, nil
	case safetensors.BF16, safetensors.F16:
		values := make([]float32, len(data)/2)
		for i := range values {
			bits := binary.LittleEndian.Uint16(data[2*i:])
			if t.DType == safetensors.BF16 {
				values[i] = math.Float32frombits(uint32(bits) << 16)
			} else {
				values[i] = halfToFloat(bits)
			}
		}
		return values, nil
	}
	return nil, fmt.Errorf("clip: tensor %s is %v; BF16, F16 and F32 can be used", t.Name, t.DType)
}

// halfToFloat is the number of an IEEE half-precision bit pattern.
func halfToFloat(h uint16) float32 {
	sign, exponent, mantissa := float32(1), int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exponent {
	case 0:
		return sign * float32(math.Ldexp(mantissa, -24))
	case 31:
		if mantissa != 0 {
			return float32(math.NaN())
		}
		return sign * float32(math.Inf(1))
	}
	return sign * float32(math.Ldexp(1024+mantissa, exponent-25))
}

// tokenizerFolder is where the tokenizer's files lie.
func tokenizerFolder(dir, chosen string) (string, error) {
	if chosen == "" {
		return dir, nil
	}
	info, err := os.Stat(chosen)
	if err == nil && !info.IsDir() {
		chosen = filepath.Dir(chosen)
	}
	return chosen, err
}

// fingerprint hashes everything that embeddings depend on: what configures them in the
// folder dir, and the tokenizer in texts.
func fingerprint(dir, texts string, weights checkpoint, o Options) (string, error) {
	sum := sha256.New()
	of, err := weights.Fingerprint()
	if err != nil {
		return "", fmt.Errorf("clip: %w", err)
	}
	fmt.Fprintf(sum, "%s\n%v %v\n", of, o.Provider.Kind, o.Precision)
	paths := []string{filepath.Join(dir, configFile), filepath.Join(dir, preprocessorFile), filepath.Join(dir, openCLIPConfigFile)}
	for _, name := range tokenizer.Files() {
		paths = append(paths, filepath.Join(texts, name))
	}
	for _, path := range paths {
		data, err := modelfile.Read(path, maxFileBytes)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("clip: %w", err)
		}
		fmt.Fprintf(sum, "%s %d\n", filepath.Base(path), len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// open loads both towers.
func (m *Model) open(weights checkpoint) error {
	text, image := onnx.New("clip_text"), onnx.New("clip_vision")
	dtype := m.options.dtype()
	textSet, imageSet := initializers.New(text, weights, "clip"), initializers.New(image, weights, "clip")
	textGraph(text, m.config, named(textSet, dtype))
	imageGraph(image, m.config, named(imageSet, dtype), m.preprocessor, dtype, m.options.Patches)
	if err := errors.Join(textSet.Err(), imageSet.Err()); err != nil {
		return err
	}
	var err error
	if m.text, err = m.session(weights, text); err != nil {
		return err
	}
	if m.image, err = m.session(weights, image); err != nil {
		return errors.Join(err, m.text.Close())
	}
	return nil
}

// named finds out whose names the tensors have.
func named(set *initializers.Set, dtype onnx.DType) tensors {
	if isOpenCLIP(set.Lookup) {
		return openCLIP{set, dtype}
	}
	return huggingFace{set, dtype}
}

func (m *Model) session(weights checkpoint, g *onnx.Graph) (*ort.Session, error) {
	model, err := g.Marshal()
	if err != nil {
		return nil, err
	}
	session, err := m.options.Runtime.NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{
		Provider: m.options.Provider, Threads: m.options.Threads, InitializersDir: weights.Folder(), Unchanged: weights.Unchanged,
	})
	if err != nil {
		return nil, fmt.Errorf("clip: loading the graph: %w", err)
	}
	return session, nil
}

// Close frees the sessions. The model must not be used afterwards.
func (m *Model) Close() error { return errors.Join(m.text.Close(), m.image.Close()) }

func (m *Model) Config() Config { return m.config }

// LogitScale is exp of the checkpoint's logit_scale, what cosines are multiplied
// with: 100 for nearly all.
func (m *Model) LogitScale() float64 { return m.scale }

// Fingerprint identifies weights, configuration and precision, in hex.
func (m *Model) Fingerprint() string { return m.fingerprint }

// Tokens are the ids of text between the tokens around it. A longer text than the
// tower has positions for is cut, its end token kept.
func (m *Model) Tokens(text string) []int64 {
	ids := m.encode(text)
	ids = ids[:min(len(ids), m.config.Positions-2)]
	out := make([]int64, 0, len(ids)+2)
	out = append(out, int64(m.begin))
	for _, id := range ids {
		out = append(out, int64(id))
	}
	return append(out, int64(m.end))
}

// encode is the ids of text, without those around it. open_clip's tokenizer cleans
// it, and knows no <|endoftext|> in it.
func (m *Model) encode(text string) []int32 {
	if m.cleans {
		return m.tokenizer.EncodeOrdinary(openCLIPText(text))
	}
	return m.tokenizer.Encode(text)
}

// legacyEOS stands in old configurations for the largest id of a text.
const legacyEOS = 2

// endOf is the place whose state is the text's.
func (m *Model) endOf(ids []int64) int {
	if m.config.EOSTokenID == legacyEOS {
		return slices.Index(ids, slices.Max(ids))
	}
	return max(0, slices.Index(ids, int64(m.config.EOSTokenID))) // as argmax has it where there is none
}

// Texts gives the embeddings of texts, each of length 1. Those seen lately are not
// computed again. The slices are shared and must not be changed.
func (m *Model) Texts(ctx context.Context, texts []string) ([][]float32, error) {
	out := make([][]float32, len(texts))
	var missing []string
	places := map[string][]int{}
	for i, text := range texts {
		if e, ok := m.texts.Get(text); ok {
			out[i] = e
			continue
		}
		if places[text] == nil {
			missing = append(missing, text)
		}
		places[text] = append(places[text], i)
	}
	for part := range slices.Chunk(missing, m.options.MaxBatch) {
		embeddings, err := m.encodeTexts(ctx, part)
		if err != nil {
			return nil, err
		}
		for k, text := range part {
			m.texts.Add(text, embeddings[k])
			for _, i := range places[text] {
				out[i] = embeddings[k]
			}
		}
	}
	return out, nil
}

// encodeTexts runs the text tower. What stands behind a text's end changes nothing,
// since no token sees those behind it.
func (m *Model) encodeTexts(ctx context.Context, texts []string) ([][]float32, error) {
	rows := make([][]int64, len(texts))
	longest := 0
	for i, text := range texts {
		rows[i] = m.Tokens(text)
		longest = max(longest, len(rows[i]))
	}
	ids, ends := make([]int64, len(rows)*longest), make([]int64, len(rows))
	for i, row := range rows {
		for j := copy(ids[i*longest:], row); j < longest; j++ {
			ids[i*longest+j] = int64(m.end)
		}
		ends[i] = int64(i*longest + m.endOf(row))
	}
	n := int64(len(rows))
	out, err := m.text.Run(ctx, []ort.Tensor{ort.Int64s([]int64{n, int64(longest)}, ids), ort.Int64s([]int64{n}, ends)})
	if err != nil {
		return nil, fmt.Errorf("clip: %d texts: %w", n, err)
	}
	return normalized(out[0], m.config.ProjectionDim), nil
}

// Images gives the embeddings, each of length 1, of squares that Preprocess made.
func (m *Model) Images(ctx context.Context, squares [][]uint8) ([][]float32, error) {
	var all [][]float32
	err := m.runImages(ctx, squares, func(out []ort.Tensor) {
		all = append(all, normalized(out[0], m.config.ProjectionDim)...)
	})
	return all, err
}

// runImages runs the vision tower on squares, MaxBatch at a time.
func (m *Model) runImages(ctx context.Context, squares [][]uint8, take func(out []ort.Tensor)) error {
	side := int64(m.config.ImageSize)
	for part := range slices.Chunk(squares, m.options.MaxBatch) {
		n := int64(len(part))
		out, err := m.image.Run(ctx, []ort.Tensor{ort.Uint8s([]int64{n, side, side, 3}, slices.Concat(part...))})
		if err != nil {
			return fmt.Errorf("clip: %d images: %w", n, err)
		}
		take(out)
	}
	return nil
}

// Preprocess makes the square that the vision tower sees of an image.
func (m *Model) Preprocess(image *reward.Image) []uint8 { return m.preprocessor.Pixels(image) }

// normalized cuts a tensor into rows of width and divides each by its length, which
// must not be 0 for a number to come out.
func normalized(t ort.Tensor, width int) [][]float32 {
	rows := slices.Collect(slices.Chunk(t.Float32s(), width))
	for _, row := range rows {
		var sum float64
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		length := math.Sqrt(sum)
		for i := range row {
			row[i] = float32(float64(row[i]) / length)
		}
	}
	return rows
}

// cosine is the scalar product of two vectors of length 1.
func cosine(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
