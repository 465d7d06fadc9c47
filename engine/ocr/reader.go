package ocr

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
	"google.golang.org/protobuf/encoding/protowire"
)

// Options say how a reader runs. Runtime is required.
type Options struct {
	Runtime  *ort.Runtime
	Provider ort.Provider
	Threads  int // of a CPU; 0 is one per core
	// ShortSide is what the shorter side of a smaller image is enlarged to before
	// text is looked for; 0 is RapidOCR's 736. Less is faster and misses small text.
	ShortSide int
}

// Models are the two networks as ONNX files hold them. The recogniser's metadata
// has the characters under "character", a line each.
type Models struct{ Detector, Recognizer []byte }

// maxModelBytes is the largest model file that is read; the server models of
// PP-OCRv4 have a hundred million bytes each.
const maxModelBytes = 512 << 20

// ReadModels reads det.onnx and rec.onnx of a folder.
func ReadModels(dir string) (Models, error) {
	var m Models
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{"det.onnx", &m.Detector}, {"rec.onnx", &m.Recognizer}} {
		path := filepath.Join(dir, f.name)
		info, err := os.Stat(path)
		if err != nil {
			return Models{}, fmt.Errorf("ocr: %w", err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxModelBytes {
			return Models{}, fmt.Errorf("ocr: %s is no file of at most %d bytes", path, maxModelBytes)
		}
		if *f.to, err = os.ReadFile(path); err != nil {
			return Models{}, fmt.Errorf("ocr: %w", err)
		}
	}
	return m, nil
}

// Reader reads the text in images. It is safe for concurrent use.
type Reader struct {
	detector, recognizer *ort.Session
	characters           []string // of each class; the first is the blank
	fingerprint          string
	shortSide            int
}

// Open loads the models. The reader must be closed.
func Open(m Models, o Options) (*Reader, error) {
	if o.ShortSide < 0 || o.ShortSide > maxSide {
		return nil, fmt.Errorf("ocr: options: short side %d is not in 0 to %d", o.ShortSide, maxSide)
	}
	characters, err := readCharacters(m.Recognizer)
	if err != nil {
		return nil, fmt.Errorf("ocr: recogniser: %w", err)
	}
	sum := sha256.New()
	sum.Write(m.Detector)
	sum.Write(m.Recognizer)
	short := cmp.Or(o.ShortSide, detectMinSide)
	fmt.Fprintf(sum, "%d", short)
	r := &Reader{characters: characters, shortSide: short, fingerprint: hex.EncodeToString(sum.Sum(nil))}
	open := func(model []byte) (*ort.Session, error) {
		inputs, outputs, err := graphNames(model)
		if err != nil {
			return nil, err
		}
		return o.Runtime.NewSession(model, inputs, outputs, ort.SessionOptions{Provider: o.Provider, Threads: o.Threads, NoMemPattern: true})
	}
	if r.detector, err = open(m.Detector); err != nil {
		return nil, fmt.Errorf("ocr: detector: %w", err)
	}
	if r.recognizer, err = open(m.Recognizer); err != nil {
		return nil, errors.Join(fmt.Errorf("ocr: recogniser: %w", err), r.detector.Close())
	}
	return r, nil
}

// Close frees the models. The reader must not be used afterwards.
func (r *Reader) Close() error { return errors.Join(r.detector.Close(), r.recognizer.Close()) }

// Fields of ONNX's ModelProto, GraphProto and their parts.
const (
	modelGraph     = 7
	modelMetadata  = 14
	graphInput     = 11
	graphOutput    = 12
	valueName      = 1
	metadataKey    = 1
	metadataValue  = 2
	charactersName = "character"
)

// fields calls visit for each field of a message that holds bytes.
func fields(message []byte, visit func(number protowire.Number, value []byte)) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		visit(number, value)
		message = message[n:]
	}
	return nil
}

// graphNames are the names of a model's one input and one output.
func graphNames(model []byte) (inputs, outputs []string, err error) {
	var graph []byte
	if err := fields(model, func(n protowire.Number, v []byte) {
		if n == modelGraph {
			graph = v
		}
	}); err != nil {
		return nil, nil, fmt.Errorf("no ONNX model: %w", err)
	}
	name := func(value []byte) (name string) {
		_ = fields(value, func(n protowire.Number, v []byte) { // what is broken has no name
			if n == valueName {
				name = string(v)
			}
		})
		return name
	}
	if err := fields(graph, func(n protowire.Number, v []byte) {
		switch n {
		case graphInput:
			inputs = append(inputs, name(v))
		case graphOutput:
			outputs = append(outputs, name(v))
		}
	}); err != nil {
		return nil, nil, fmt.Errorf("no ONNX model: %w", err)
	}
	if len(inputs) != 1 || len(outputs) != 1 {
		return nil, nil, fmt.Errorf("%d inputs and %d outputs, want one of each", len(inputs), len(outputs))
	}
	return inputs, outputs, nil
}

// readCharacters are the classes of a recogniser: the blank, what its metadata
// lists, the space.
func readCharacters(model []byte) ([]string, error) {
	var list []byte
	err := fields(model, func(n protowire.Number, entry []byte) {
		if n != modelMetadata {
			return
		}
		var key string
		var value []byte
		_ = fields(entry, func(n protowire.Number, v []byte) { // what is broken has no name
			switch n {
			case metadataKey:
				key = string(v)
			case metadataValue:
				value = v
			}
		})
		if key == charactersName {
			list = value
		}
	})
	if err != nil {
		return nil, fmt.Errorf("no ONNX model: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("its metadata has no %q", charactersName)
	}
	characters := []string{""}
	for _, c := range bytes.Split(bytes.TrimSuffix(list, []byte("\n")), []byte("\n")) {
		characters = append(characters, string(bytes.TrimSuffix(c, []byte("\r"))))
	}
	return append(characters, " "), nil
}

// Line is a line of text in an image.
type Line struct {
	Text  string
	Score float64 // 0 to 1, the mean of its characters' probabilities
	// Corners are in pixels, from the upper left one clockwise as the text runs.
	Corners [4][2]float64
	// At tells for each character (code point) of Text its middle, from 0 at the
	// line's left end to 1 at its right.
	At []float64
}

// Read finds and reads the text in an image, from top to bottom and from left to
// right. An image so narrow that the detector would see more than maxPixels is a
// reward.ErrInvalidValue.
func (r *Reader) Read(ctx context.Context, image *reward.Image) ([]Line, error) {
	if w, h := extent(image.Width, image.Height, r.shortSide); w > maxPixels/h {
		return nil, reward.ErrInvalidValue.With("image: %dx%d is too narrow to be read: with its shorter side enlarged it has %dx%d pixels, limit %d",
			image.Width, image.Height, w, h, maxPixels)
	}
	shown, back := fit(image)
	found, err := r.detect(ctx, shown)
	if err != nil {
		return nil, err
	}
	var kept []quad
	var crops []*reward.Image
	for _, q := range found {
		if c := crop(shown, q); c != nil {
			kept, crops = append(kept, q), append(crops, c)
		}
	}
	readings, err := r.recognize(ctx, crops)
	if err != nil {
		return nil, err
	}
	var lines []Line
	for i, reading := range readings {
		if reading.score < lineMinScore {
			continue
		}
		line := Line{Text: string(reading.text), Score: reading.score, At: reading.at}
		for k, p := range kept[i] {
			p = back(p)
			line.Corners[k] = [2]float64{p.x, p.y}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// How images are brought into a form that the detector can see.
const (
	maxSide      = 2000 // longer sides are shrunk
	minSide      = 30   // shorter sides are enlarged
	minHeight    = 30   // lower images get black above and below
	maxWideRatio = 8    // as do wider ones

	// What the detector sees of an image of 2000x2000, and of one of 736 enlarged to an
	// aspect of 14. RapidOCR has no limit, and makes 64,000x16,000 pixels of 2000x1.
	maxPixels = 2 * maxSide * maxSide
)

// extent is the size of what the detector sees of an image.
func extent(width, height, least int) (int, int) {
	if long := max(width, height); long > maxSide {
		width, height = scaledSize(width, height, maxSide/float64(long))
	}
	if short := min(width, height); short < minSide {
		width, height = scaledSize(width, height, minSide/float64(short))
	}
	return detectSize(width, height+2*padding(width, height), least)
}

// padding is the rows of black above an image, and below it.
func padding(width, height int) int {
	if height > minHeight && float64(width)/float64(height) <= maxWideRatio {
		return 0
	}
	want := max(width/maxWideRatio, minHeight) * 2
	return max(want-height, height-want) / 2
}

// fit brings an image into a form that the detector can see; back takes places in it
// to the image's own.
func fit(image *reward.Image) (*reward.Image, func(point) point) {
	shown := image
	if long := max(shown.Width, shown.Height); long > maxSide {
		shown = scaled(shown, maxSide/float64(long))
	}
	if short := min(shown.Width, shown.Height); short < minSide {
		shown = scaled(shown, minSide/float64(short))
	}
	sx, sy := float64(image.Width)/float64(shown.Width), float64(image.Height)/float64(shown.Height)
	above := padding(shown.Width, shown.Height)
	if above > 0 {
		padded := &reward.Image{Width: shown.Width, Height: shown.Height + 2*above, Pix: make([]uint8, shown.Width*(shown.Height+2*above)*3)}
		copy(padded.Pix[above*shown.Width*3:], shown.Pix)
		shown = padded
	}
	return shown, func(p point) point {
		return point{
			min(max(p.x*sx, 0), float64(image.Width)),
			min(max((p.y-float64(above))*sy, 0), float64(image.Height)),
		}
	}
}

// scaled resizes an image to about ratio, to multiples that the detector takes.
func scaled(image *reward.Image, ratio float64) *reward.Image {
	width, height := scaledSize(image.Width, image.Height, ratio)
	return resizeLinear(image, width, height)
}

func scaledSize(width, height int, ratio float64) (int, int) {
	side := func(v int) int {
		v = int(float64(v) * ratio)
		return max(detectMultiple, int(math.RoundToEven(float64(v)/detectMultiple))*detectMultiple)
	}
	return side(width), side(height)
}
