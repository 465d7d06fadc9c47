package flowgrpo

import "fmt"

// Ratio is the form of the likelihood ratio rho between the policy that is
// trained and the one that sampled.
type Ratio int

const (
	// ImageRatio is Flow-GRPO's: one number per image, r = exp(log p - log p_old)
	// with log p the mean over channels and locations.
	ImageRatio Ratio = iota
	// DetachedRatio is DenseFlow-GRPO's: rho(l) = sg(r) p(l) / (sg(p(l)) + 1e-10)
	// with p(l) the exponential of a location's log-probability and sg the
	// gradient stop. Its value is all but r everywhere; its gradient is local.
	DetachedRatio
	// DirectRatio is BoxFlow-GRPO's: rho(l) = exp(log p(l) - log p_old(l)).
	DirectRatio
)

func (r Ratio) String() string {
	switch r {
	case ImageRatio:
		return "image"
	case DetachedRatio:
		return "detached"
	case DirectRatio:
		return "direct"
	}
	return fmt.Sprintf("Ratio(%d)", int(r))
}

// detachedEpsilon keeps DetachedRatio's denominator from zero. It also makes
// the ratio vanish where p(l) does, below a log-probability of about -23.
const detachedEpsilon = 1e-10

// Loss is a clipped policy-gradient loss,
//
//	L = mean over images of mean over locations of
//	        max(-A w rho, -A w clamp(rho, 1-ClipRange, 1+ClipRange))
//	    + KLBeta KL,
//
// with A the advantage of the image or the location, clamped to AdvantageClip,
// and w the weights of [Credit]. KL is the mean over images of the mean square of
// mean - mean_ref, divided by 2 std_dev_t^2 for SDE steps and by nothing for CPS
// and ODE steps.
type Loss struct {
	Ratio         Ratio
	ClipRange     float64
	AdvantageClip float64 // the bound of |A|; 0 for none
	KLBeta        float64 // 0 for no KL term in the loss
}

// FlowGRPO is the loss of Flow-GRPO: [Batch.Advantages] of each image, and a ratio
// for each image.
func FlowGRPO(clipRange, klBeta float64) Loss {
	return Loss{Ratio: ImageRatio, ClipRange: clipRange, AdvantageClip: 5, KLBeta: klBeta}
}

// DenseFlowGRPO is the loss of DenseFlow-GRPO. With [Batch.Advantages] of each
// image and 1-H as [Batch.Weight] it is the form that was published as code; with
// a [Batch.AdvantageMap] from R (1-H) that of the paper.
func DenseFlowGRPO(clipRange, klBeta float64) Loss {
	return Loss{Ratio: DetachedRatio, ClipRange: clipRange, AdvantageClip: 5, KLBeta: klBeta}
}

// BoxFlowGRPO is the loss of BoxFlow-GRPO, for a [Batch.AdvantageMap]. It does not
// clip advantages.
func BoxFlowGRPO(clipRange, klBeta float64) Loss {
	return Loss{Ratio: DirectRatio, ClipRange: clipRange, KLBeta: klBeta}
}

// Batch is what a loss is taken of: one transition of each image. The slices are
// read and never written.
type Batch[T Float] struct {
	Shape Shape
	Steps []Step // (B)

	Sample      []T // x_t, the shape of the latents
	PrevSample  []T // x_{t-1} that was sampled
	ModelOutput []T // v of the policy that is trained
	// RefModelOutput is v of the reference policy. It stands for the reference
	// mean, from which the mean differs by OutputCoef (v - v_ref). Needed for a
	// KLBeta other than 0; without it KL is 0.
	RefModelOutput []T

	// The log-probabilities when x_{t-1} was sampled, as [LogProb] gives them, per
	// image (B) or per location (B,L). DirectRatio needs the map; the others take
	// the mean of the map where the first is nil.
	OldLogProb    []float64
	OldLogProbMap []T

	Credit[T] // ImageRatio takes neither an AdvantageMap nor a Weight
}

// Results are the caller's buffers for what [FusedLoss.Evaluate] is to give beside
// its diagnostics. A nil buffer is not filled. None may overlap another or the
// batch.
type Results[T Float] struct {
	LogProb    []float64 // (B)
	LogProbMap []T       // (B,L)
	ImageRatio []float64 // (B): r, whatever form of ratio the loss takes
	RatioMap   []T       // (B,L): rho

	// GradLogProbMap is the gradient of the policy loss with respect to the
	// log-probability map (B,L); KL is not a function of it.
	GradLogProbMap []T
	// GradModelOutput is the gradient of the whole loss with respect to
	// ModelOutput, in the shape of the latents.
	GradModelOutput []T
}

// Diagnostics are what a trainer logs of a loss.
type Diagnostics struct {
	Loss       float64
	PolicyLoss float64
	KL         float64 // without KLBeta
	ApproxKL   float64 // half the mean over images of (log p - log p_old)^2

	// The shares of ratios r with |r-1|, r-1 and 1-r above ClipRange: of images
	// with ImageRatio and DetachedRatio, of locations with DirectRatio.
	ClipFrac, ClipFracGtOne, ClipFracLtOne float64

	// Statistics of rho over images with ImageRatio, otherwise over all
	// locations. RatioStd is the sample's, and 0 for a single ratio.
	RatioMean, RatioStd, RatioMin, RatioMax float64
}

// check panics for a loss that no batch can have.
func (l Loss) check() {
	if l.Ratio < ImageRatio || l.Ratio > DirectRatio {
		panic(fmt.Sprintf("flowgrpo: unknown ratio %v", l.Ratio))
	}
	for _, v := range []struct {
		name  string
		value float64
	}{{"clip range", l.ClipRange}, {"advantage clip", l.AdvantageClip}, {"KL beta", l.KLBeta}} {
		if !(v.value >= 0) || !finite(v.value) {
			panic(fmt.Sprintf("flowgrpo: %s %v must be at least 0 and finite", v.name, v.value))
		}
	}
}

// check panics unless the batch has what the loss needs, in the right lengths.
func (b *Batch[T]) check(l Loss) {
	s := b.Shape
	checkTransition(s, b.Steps, b.ModelOutput, b.Sample)
	checkLen("prev sample", len(b.PrevSample), s.Len(), s)
	checkOptional("ref model output", len(b.RefModelOutput), s.Len(), s)
	checkOptional("old log-prob", len(b.OldLogProb), s.Batch, s)
	checkOptional("old log-prob map", len(b.OldLogProbMap), s.MapLen(), s)
	switch {
	case l.KLBeta != 0 && len(b.RefModelOutput) == 0:
		panic("flowgrpo: a KL beta without a ref model output")
	case l.Ratio == DirectRatio && len(b.OldLogProbMap) == 0:
		panic("flowgrpo: a direct ratio without an old log-prob map")
	case len(b.OldLogProb) == 0 && len(b.OldLogProbMap) == 0:
		panic("flowgrpo: a ratio without an old log-prob")
	}
	b.Credit.Check(s)
	if l.Ratio == ImageRatio && b.Dense() {
		panic("flowgrpo: an image ratio takes neither an advantage map nor a weight")
	}
}

// check panics unless every buffer that is wanted has the right length.
func (r *Results[T]) check(s Shape) {
	checkOptional("log-prob", len(r.LogProb), s.Batch, s)
	checkOptional("log-prob map", len(r.LogProbMap), s.MapLen(), s)
	checkOptional("image ratio", len(r.ImageRatio), s.Batch, s)
	checkOptional("ratio map", len(r.RatioMap), s.MapLen(), s)
	checkOptional("gradient of the log-prob map", len(r.GradLogProbMap), s.MapLen(), s)
	checkOptional("gradient of the model output", len(r.GradModelOutput), s.Len(), s)
}
