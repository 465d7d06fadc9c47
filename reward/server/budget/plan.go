package budget

import "fmt"

const (
	// perConnection is what a connection holds: buffers, a header, goroutines.
	perConnection = 128 << 10
	// perPixel is the working memory of decoding an image file beside its pixels:
	// coefficients of a progressive JPEG, in 16 bits each.
	perPixel = 6
	// base is the program itself, without models.
	base = 256 << 20
)

// Plan is what the memory of a server goes to, in bytes where nothing else is said.
// Models are not in it.
type Plan struct {
	Bodies int64 // and answers
	Queue  int64 // of images that wait for evaluation
	Cache  int64
	Groups int64 // that span requests
	Jobs   int64 // answers of finished ones, not cut with the rest
	Recent int64 // samples that people may look at, not cut either

	Connections int // most at a time
	Decoders    int // images decoded at a time
	ImagePixels int // most of one image
}

// fixed is what does not shrink with the rest.
func (p Plan) fixed() int64 {
	return base + p.Jobs + p.Recent + int64(p.Connections)*perConnection + int64(p.Decoders)*int64(p.ImagePixels)*perPixel
}

// Total is the most that the plan comes to.
func (p Plan) Total() int64 { return p.fixed() + p.Bodies + p.Queue + p.Cache + p.Groups }

// Within is the plan with its parts cut in proportion until it fits in total bytes.
// It fails where connections and decoding alone take them.
func (p Plan) Within(total int64) (Plan, error) {
	if p.Total() <= total {
		return p, nil
	}
	share := float64(total-p.fixed()) / float64(p.Total()-p.fixed())
	if share < 0.01 {
		return p, fmt.Errorf("budget: %d bytes are too few: %d go to connections, decoding of images and the program; allow fewer connections or pixels", total, p.fixed())
	}
	for _, part := range []*int64{&p.Bodies, &p.Queue, &p.Cache, &p.Groups} {
		*part = int64(share * float64(*part))
	}
	return p, nil
}
