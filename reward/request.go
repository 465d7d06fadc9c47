package reward

// Request is what POST /v1/score takes. PROTOCOL.md describes each field; N is
// the number of prompts.
type Request struct {
	Prompts []string // N

	// Exactly one of Images (N) and Latents ((N,C,h,w), or packed (N,L,D)) is
	// set. VAE names the decoder of the latents.
	Images  []Picture
	Latents *Tensor
	VAE     string

	Mode      Mode       // "" is ModeAnswer
	Grid      GridSpec   // the zero value follows the images or latents
	Groups    Groups     // the zero value groups by prompt
	Advantage *Advantage // nil is none
	Weights   *Weights   // nil is the evaluator's defaults
	Return    []Return   // nil is DefaultReturn, empty is scores alone
	Evaluator string     // "" is the server's first
}

// Picture is one image as it travels: either the bytes of a PNG, JPEG or WebP
// file, or a tensor, (h,w,3) or (3,h,w), of uint8 or of floats in [0,1]. Where
// both readings of a shape are possible, the last dimension is the colours.
type Picture struct {
	Encoded []byte
	Tensor  *Tensor
}

// GridSpec asks for a dense grid: a preset of package dense by name, or a
// height and width in cells. The zero value is the preset "sd3" for images
// and the latents' own grid for latents.
type GridSpec struct {
	Preset        string
	Height, Width int
}

// Groups say which samples share statistics.
type Groups struct {
	// Names has one name a sample; nil groups by prompt.
	Names []string
	// Step, if set, makes groups span requests: all samples whose requests
	// give the same step and whose group has the same name belong together,
	// and each request is answered when its groups have Size members.
	Step string
	Size int
	// Members are the samples' places in their groups, in [0,Size). With them
	// a retry takes the place of its first try, and a missing member is named.
	// Nil numbers the samples of each group by arrival.
	Members []int
	// Count is the number of groups in the step. It is required where
	// statistics span groups (Advantage.GlobalStd); each request is then
	// answered when the whole step is there.
	Count int
}

// AdvantageMethod names a way to make advantages.
type AdvantageMethod string

// The methods. Scalar advantages are (N); the others are maps (N,h,w).
const (
	AdvantageNone           AdvantageMethod = "none"
	AdvantageFlowGRPO       AdvantageMethod = "flowgrpo"        // scalar, per group
	AdvantageDenseFlow      AdvantageMethod = "denseflow"       // scalar advantage times 1-H
	AdvantageDenseFlowPaper AdvantageMethod = "denseflow_paper" // R(1-H) normalised per location
	AdvantageBoxFlow        AdvantageMethod = "boxflow"         // R_D from boxes, normalised per location
)

// Valid reports whether m is a method of the protocol.
func (m AdvantageMethod) Valid() bool {
	switch m {
	case AdvantageNone, AdvantageFlowGRPO, AdvantageDenseFlow, AdvantageDenseFlowPaper, AdvantageBoxFlow:
		return true
	}
	return false
}

// Dense reports whether the method's advantages are maps.
func (m AdvantageMethod) Dense() bool {
	return m == AdvantageDenseFlow || m == AdvantageDenseFlowPaper || m == AdvantageBoxFlow
}

// Advantage asks for group-relative advantages.
type Advantage struct {
	Method AdvantageMethod
	// GlobalStd divides by the standard deviation over all groups, of the
	// request or of the step, rather than by each group's.
	GlobalStd bool
	// Floor is the least standard deviation that a map is divided by; nil is
	// 0, or 0.1 for boxflow. It goes with the methods that normalise maps.
	Floor *float64
	// Smoothing is the width, in cells, of a Gaussian that advantage maps are
	// convolved with, 0 for none. It goes with the methods that normalise maps.
	Smoothing int
	// Penalty says what boxes cost; nil is DefaultPenalty. It goes with
	// boxflow.
	Penalty *Penalty
}

// Penalty says what the boxes of a picture cost the cells they cover, for an
// importance of 100: Artifact and Misalignment in units of the standard
// deviation of the group's rewards, Min, the least, in units of reward.
type Penalty struct {
	Artifact     float64
	Misalignment float64
	Min          float64
}

// DefaultPenalty is that of the BoxFlow-GRPO paper.
func DefaultPenalty() Penalty { return Penalty{Artifact: 0.5, Misalignment: 0.05} }

// Return names an optional part of a Response.
type Return string

// What a Request may ask for beyond rewards, scores and errors.
const (
	ReturnDense    Return = "dense"
	ReturnHeatmaps Return = "heatmaps"
	ReturnText     Return = "text"
	ReturnBoxes    Return = "boxes"
	ReturnImages   Return = "images" // pictures decoded from latents, as PNG
)

// Valid reports whether r is a name of the protocol.
func (r Return) Valid() bool {
	switch r {
	case ReturnDense, ReturnHeatmaps, ReturnText, ReturnBoxes, ReturnImages:
		return true
	}
	return false
}

// DefaultReturn is what a Request without "return" gets.
func DefaultReturn() []Return { return []Return{ReturnDense} }

// Wants reports whether q asks for what.
func (q *Request) Wants(what Return) bool {
	asked := q.Return
	if asked == nil {
		asked = DefaultReturn()
	}
	for _, r := range asked {
		if r == what {
			return true
		}
	}
	return false
}

// GroupName is the name of the group of sample i.
func (q *Request) GroupName(i int) string {
	if q.Groups.Names != nil {
		return q.Groups.Names[i]
	}
	return q.Prompts[i]
}

// SplitImages gives the pictures of one tensor, (N,h,w,3) or (N,3,h,w). They
// share its data.
func SplitImages(t *Tensor) ([]Picture, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if len(t.Shape) != 4 || t.Shape[0] == 0 {
		return nil, ErrInvalidValue.With("shape %v: want (N,h,w,3) or (N,3,h,w)", t.Shape)
	}
	pictures := make([]Picture, t.Shape[0])
	for i := range pictures {
		one := t.index(i)
		pictures[i].Tensor = &one
	}
	return pictures, nil
}
