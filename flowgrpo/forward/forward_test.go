package forward

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/internal/goldens"
	"github.com/denseflow/densereward/internal/numtest"
)

// exact64 is how far float64 may differ from the public code: by the order of
// operations.
var exact64 = numtest.Tolerance{Abs: 1e-12, Rel: 1e-9}

func ofCase(c goldens.Forward) *Batch[float64] {
	return &Batch[float64]{
		Shape: flowgrpo.Latents(c.Shape[0], c.Shape[1], c.Shape[2], c.Shape[3]),
		Sigma: c.Sigma, Clean: c.Clean, Noise: c.Noise, ModelOutput: c.ModelOutput, OldModelOutput: c.OldModelOutput,
		RefModelOutput: c.RefModelOutput, Credit: flowgrpo.Credit[float64]{Advantages: c.Advantages},
	}
}

func TestNoisedLatentsEqualThePublicCode(t *testing.T) {
	for _, c := range goldens.Read(t).Forward {
		b := ofCase(c)
		got := make([]float64, b.Shape.Len())
		Noised(got, b.Shape, b.Sigma, b.Clean, b.Noise)
		numtest.Slice(t, "x_t", got, c.Noised, exact64)
	}
}

func TestDiffusionNFTEqualsThePublicCode(t *testing.T) {
	for i, c := range goldens.Read(t).Forward {
		t.Run(fmt.Sprintf("case %d", i), func(t *testing.T) {
			b := ofCase(c)
			grad := make([]float64, b.Shape.Len())
			d, err := EvaluateNFT(DiffusionNFT{Beta: c.NFTBeta, AdvantageClip: c.AdvClipMax, KLBeta: c.KLBeta}, b, grad)
			if err != nil {
				t.Fatal(err)
			}
			numtest.Value(t, "loss", d.Loss, c.NFT.Loss, exact64)
			numtest.Value(t, "positive", d.PositiveLoss, c.NFT.Positive, exact64)
			numtest.Value(t, "negative", d.NegativeLoss, c.NFT.Negative, exact64)
			numtest.Value(t, "KL", d.KL, c.NFT.KL, exact64)
			numtest.Slice(t, "gradient", grad, c.NFT.Grad, exact64)
		})
	}
}

func TestAWMEqualsThePublicCode(t *testing.T) {
	for i, c := range goldens.Read(t).Forward {
		for weighting, want := range map[Weighting]goldens.Result{
			Uniform: c.AWMUniform, Linear: c.AWMLinear, Quadratic: c.AWMQuadratic, Huber: c.AWMHuber, GeneralHuber: c.AWMGHuber,
		} {
			t.Run(fmt.Sprintf("case %d %s", i, weighting), func(t *testing.T) {
				b := ofCase(c)
				grad := make([]float64, b.Shape.Len())
				loss := AWM{Weighting: weighting, HuberPower: c.HuberPower, ClipRange: c.ClipRange, AdvantageClip: c.AdvClipMax, KLBeta: c.KLBeta}
				d, err := EvaluateAWM(loss, b, grad)
				if err != nil {
					t.Fatal(err)
				}
				numtest.Value(t, "loss", d.Loss, want.Loss, exact64)
				numtest.Value(t, "ratio", d.RatioMean, want.RatioMean, exact64)
				numtest.Slice(t, "gradient", grad, want.Grad, exact64)
			})
		}
	}
}

// pairs splits a batch into its halves.
func pairs(b *Batch[float64]) (chosen, rejected *Batch[float64]) {
	half := func(from, to int) *Batch[float64] {
		n := b.Shape.Batch
		cut := func(values []float64) []float64 { return values[len(values)*from/n : len(values)*to/n] }
		part := &Batch[float64]{
			Shape: b.Shape, Sigma: cut(b.Sigma), Clean: cut(b.Clean), Noise: cut(b.Noise),
			ModelOutput: cut(b.ModelOutput), RefModelOutput: cut(b.RefModelOutput), Credit: flowgrpo.Credit[float64]{Weight: cut(b.Weight)},
		}
		part.Shape.Batch = to - from
		return part
	}
	return half(0, b.Shape.Batch/2), half(b.Shape.Batch/2, b.Shape.Batch)
}

func TestDiffusionDPOEqualsThePublicCode(t *testing.T) {
	for i, c := range goldens.Read(t).Forward {
		t.Run(fmt.Sprintf("case %d", i), func(t *testing.T) {
			chosen, rejected := pairs(ofCase(c))
			grad := make([]float64, len(c.ModelOutput))
			half := len(grad) / 2
			d, err := EvaluateDPO(DiffusionDPO{Beta: c.DPOBeta}, chosen, rejected, grad[:half], grad[half:])
			if err != nil {
				t.Fatal(err)
			}
			numtest.Value(t, "loss", d.Loss, c.DPO.Loss, exact64)
			numtest.Value(t, "loss of verl-omni", d.Loss, c.DPOVerl.Loss, exact64)
			numtest.Value(t, "accuracy", d.Accuracy, c.DPO.Accuracy, exact64)
			numtest.Value(t, "margin", d.Margin, c.DPO.Margin, exact64)
			numtest.Slice(t, "gradient", grad, c.DPO.Grad, exact64)
			numtest.Slice(t, "gradient of verl-omni", grad, c.DPOVerl.Grad, exact64)
		})
	}
}

func randomBatch(rng *rand.Rand, shape flowgrpo.Shape, dense bool) *Batch[float64] {
	b := &Batch[float64]{Shape: shape, Clean: numtest.Normals(rng, shape.Len()), Noise: numtest.Normals(rng, shape.Len()), OldModelOutput: numtest.Normals(rng, shape.Len())}
	b.ModelOutput, b.RefModelOutput = numtest.Normals(rng, shape.Len()), numtest.Normals(rng, shape.Len())
	for i, old := range b.OldModelOutput {
		b.ModelOutput[i] = old + 0.1*b.ModelOutput[i]
		b.RefModelOutput[i] = old + 0.1*b.RefModelOutput[i]
	}
	for range shape.Batch {
		b.Sigma = append(b.Sigma, 0.05+0.9*rng.Float64())
		b.StepWeights = append(b.StepWeights, 0.5+rng.Float64())
	}
	if dense {
		b.AdvantageMap, b.Weight = numtest.Normals(rng, shape.MapLen()), make([]float64, shape.MapLen())
		for l := range b.Weight {
			b.Weight[l] = rng.Float64()
		}
	} else {
		b.Advantages = numtest.Normals(rng, shape.Batch)
	}
	return b
}

// A method is a loss of a batch in one of its forms, with the naive one: the papers'
// equations in terms of x_t and the images that velocities predict. frozen is what no
// gradient flows through.
type method struct {
	name  string
	dense bool
	fused func(b *Batch[float64], grad []float64) (Diagnostics, error)
	naive func(b, frozen *Batch[float64]) float64
}

func methods() []method {
	nft := DiffusionNFT{Beta: 0.4, AdvantageClip: 1.5, KLBeta: 0.3}
	all := []method{}
	for _, dense := range []bool{false, true} {
		all = append(all, method{fmt.Sprintf("NFT, dense %v", dense), dense,
			func(b *Batch[float64], grad []float64) (Diagnostics, error) { return EvaluateNFT(nft, b, grad) },
			func(b, frozen *Batch[float64]) float64 { return naiveNFT(nft, b, frozen) }})
		all = append(all, method{fmt.Sprintf("DPO, dense %v", dense), dense, dpoOfHalves,
			func(b, _ *Batch[float64]) float64 { return naiveDPO(b) }})
	}
	for _, weighting := range []Weighting{Uniform, Linear, Quadratic, Huber, GeneralHuber} {
		for _, ratio := range []flowgrpo.Ratio{flowgrpo.ImageRatio, flowgrpo.DetachedRatio, flowgrpo.DirectRatio} {
			if ratio != flowgrpo.ImageRatio && (weighting == Huber || weighting == GeneralHuber) {
				continue
			}
			awm := AWM{Ratio: ratio, Weighting: weighting, HuberPower: 0.25, ClipRange: 0.01, AdvantageClip: 1.5, KLBeta: 0.3}
			all = append(all, method{fmt.Sprintf("AWM %s, %v ratio", weighting, ratio), ratio != flowgrpo.ImageRatio,
				func(b *Batch[float64], grad []float64) (Diagnostics, error) { return EvaluateAWM(awm, b, grad) },
				func(b, frozen *Batch[float64]) float64 { return naiveAWM(awm, b, frozen) }})
		}
	}
	return all
}

const dpoBeta = 5

// dpoOfHalves takes the first half of a batch for chosen over the second.
func dpoOfHalves(b *Batch[float64], grad []float64) (Diagnostics, error) {
	chosen, rejected := pairs(b)
	return EvaluateDPO(DiffusionDPO{Beta: dpoBeta}, chosen, rejected, grad[:len(grad)/2], grad[len(grad)/2:])
}

func shapes() []flowgrpo.Shape {
	return []flowgrpo.Shape{flowgrpo.Latents(4, 2, 2, 3), flowgrpo.PackedLatents(4, 5, 2)}
}

func each(t *testing.T, test func(t *testing.T, m method, b *Batch[float64])) {
	for _, m := range methods() {
		for _, shape := range shapes() {
			t.Run(fmt.Sprintf("%s, %v", m.name, shape), func(t *testing.T) {
				test(t, m, randomBatch(rand.New(rand.NewPCG(6, 1)), shape, m.dense))
			})
		}
	}
}

func TestLossesEqualTheNaiveOnesAndTheirCentralDifferences(t *testing.T) {
	const h = 1e-6
	each(t, func(t *testing.T, m method, b *Batch[float64]) {
		grad := make([]float64, b.Shape.Len())
		d, err := m.fused(b, grad)
		if err != nil {
			t.Fatal(err)
		}
		frozen := *b
		frozen.ModelOutput = append([]float64(nil), b.ModelOutput...)
		numtest.Value(t, "loss", d.Loss, m.naive(b, &frozen), exact64)
		for i := range grad {
			kept := b.ModelOutput[i]
			b.ModelOutput[i] = kept + h
			above := m.naive(b, &frozen)
			b.ModelOutput[i] = kept - h
			below := m.naive(b, &frozen)
			b.ModelOutput[i] = kept
			// The error of a central difference is of the order of h^2 and of the
			// rounding of the loss over h.
			numtest.Value(t, fmt.Sprintf("gradient %d", i), grad[i], (above-below)/(2*h), numtest.Tolerance{Abs: 2e-9, Rel: 1e-5})
		}
	})
}

func TestAZeroMapIsTheImageLevelForm(t *testing.T) {
	dense := make(map[string]method)
	for _, m := range methods() {
		dense[strings.NewReplacer("dense true", "dense false", "detached", "image").Replace(m.name)] = m
	}
	each(t, func(t *testing.T, m method, b *Batch[float64]) {
		other := dense[m.name]
		if m.dense || !other.dense {
			return
		}
		want, got := make([]float64, b.Shape.Len()), make([]float64, b.Shape.Len())
		wantD, err := m.fused(b, want)
		if err != nil {
			t.Fatal(err)
		}
		b.Weight = make([]float64, b.Shape.MapLen())
		for l := range b.Weight {
			b.Weight[l] = 1 - 0
		}
		d, err := other.fused(b, got)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, "loss", d.Loss, wantD.Loss, exact64)
		numtest.Slice(t, "gradient", got, want, exact64)
	})
}

// Images, or pairs of them, have no order, and channels and locations neither.
func TestLossesDoNotDependOnTheOrder(t *testing.T) {
	each(t, func(t *testing.T, m method, b *Batch[float64]) {
		want, err := m.fused(b, make([]float64, b.Shape.Len()))
		if err != nil {
			t.Fatal(err)
		}
		moved, images := *b, []int{1, 0, 3, 2} // within each half
		for _, field := range []*[]float64{
			&moved.Sigma, &moved.Clean, &moved.Noise, &moved.ModelOutput, &moved.OldModelOutput, &moved.RefModelOutput,
			&moved.Advantages, &moved.AdvantageMap, &moved.Weight, &moved.StepWeights,
		} {
			var out []float64
			size := len(*field) / len(images)
			for _, i := range images {
				out = append(out, (*field)[i*size:(i+1)*size]...)
			}
			*field = out
		}
		got, err := m.fused(&moved, make([]float64, b.Shape.Len()))
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, "loss", got.Loss, want.Loss, exact64)
	})
}

func TestAWMScalesWithItsAdvantages(t *testing.T) {
	b := randomBatch(rand.New(rand.NewPCG(7, 1)), shapes()[0], true)
	loss := AWM{Ratio: flowgrpo.DirectRatio, Weighting: Uniform, ClipRange: 0.01}
	want, err := EvaluateAWM(loss, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for l := range b.AdvantageMap {
		b.AdvantageMap[l] *= 3
	}
	got, err := EvaluateAWM(loss, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	numtest.Value(t, "loss", got.Loss, 3*want.Loss, exact64)
}

// With the policy where it was, an advantage of 0 leaves DiffusionNFT's gradient 0.
func TestDiffusionNFTAtRest(t *testing.T) {
	b := randomBatch(rand.New(rand.NewPCG(7, 2)), shapes()[0], false)
	b.ModelOutput, b.Advantages, b.StepWeights = b.OldModelOutput, []float64{0, 0, 0, 0}, nil
	grad := make([]float64, b.Shape.Len())
	if _, err := EvaluateNFT(DiffusionNFT{Beta: 1, AdvantageClip: 5}, b, grad); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "gradient", grad, make([]float64, len(grad)), numtest.Tolerance{Abs: 1e-15})
}

// A pair whose sides are exchanged has the opposite margin.
func TestDiffusionDPOIsAntisymmetric(t *testing.T) {
	chosen, rejected := pairs(randomBatch(rand.New(rand.NewPCG(7, 3)), shapes()[0], true))
	d, err := EvaluateDPO(DiffusionDPO{Beta: 2}, chosen, rejected, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	reversed, err := EvaluateDPO(DiffusionDPO{Beta: 2}, rejected, chosen, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	numtest.Value(t, "margin", reversed.Margin, -d.Margin, exact64)
	rest, err := EvaluateDPO(DiffusionDPO{Beta: 0}, chosen, rejected, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	numtest.Value(t, "loss without a preference", rest.Loss, math.Ln2, exact64)
}

func TestLossesRefuseWhatIsNotFinite(t *testing.T) {
	each(t, func(t *testing.T, m method, b *Batch[float64]) {
		for name, v := range map[string]float64{"NaN": math.NaN(), "infinity": math.Inf(1), "1e200": 1e200} {
			for field, values := range map[string]*[]float64{"the model output": &b.ModelOutput, "the noise": &b.Noise} {
				kept := *values
				*values = append([]float64(nil), kept...)
				(*values)[len(kept)-1] = v
				if _, err := m.fused(b, make([]float64, b.Shape.Len())); err == nil {
					t.Errorf("%s in %s is accepted", name, field)
				}
				*values = kept
			}
		}
	})
}

// Finite input gives finite numbers or an error, however large it is.
func TestNoFiniteInputGivesNaN(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	each(t, func(t *testing.T, m method, b *Batch[float64]) {
		for range 30 {
			wild := *b
			numtest.Wild(rng,
				&wild.Clean, &wild.Noise, &wild.ModelOutput, &wild.OldModelOutput, &wild.RefModelOutput, &wild.Advantages, &wild.AdvantageMap, &wild.Weight,
			)
			grad := make([]float64, b.Shape.Len())
			d, err := m.fused(&wild, grad)
			if err != nil {
				continue
			}
			for _, v := range append(grad, d.Loss, d.PolicyLoss, d.RatioMean, d.Margin, d.KL) {
				if !finite(v) {
					t.Fatalf("%v without an error: %+v", v, d)
				}
			}
		}
	})
}

// A KL term is finite by itself and not times its beta.
func TestALossThatOverflowsIsAnError(t *testing.T) {
	b := randomBatch(rand.New(rand.NewPCG(6, 1)), flowgrpo.Latents(2, 3, 2, 2), false)
	for i := range b.RefModelOutput {
		b.RefModelOutput[i] = 1e100
	}
	_, awm := EvaluateAWM(AWM{Weighting: Uniform, ClipRange: 0.1, KLBeta: 1e300}, b, nil)
	_, nft := EvaluateNFT(DiffusionNFT{Beta: 0.4, AdvantageClip: 1.5, KLBeta: 1e300}, b, nil)
	for name, err := range map[string]error{"AWM": awm, "DiffusionNFT": nft} {
		if err == nil || err.Error() != "forward: loss is +Inf" {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestFloat32OverflowIsAnError(t *testing.T) {
	b := &Batch[float32]{
		Shape: flowgrpo.Latents(1, 1, 1, 1), Sigma: []float64{0.5}, Clean: []float32{0}, Noise: []float32{0},
		ModelOutput: []float32{1}, OldModelOutput: []float32{1}, Credit: flowgrpo.Credit[float32]{Advantages: []float64{-1e39}},
	}
	if _, err := EvaluateAWM(AWM{Weighting: Uniform}, b, make([]float32, 1)); err == nil || !strings.Contains(err.Error(), "overflows float32") {
		t.Errorf("error %v", err)
	}
}

func TestMisusePanics(t *testing.T) {
	for name, call := range map[string]func(b *Batch[float64]){
		"a sigma of 0":         func(b *Batch[float64]) { b.Sigma[0] = 0; _, _ = EvaluateAWM(AWM{Weighting: Uniform}, b, nil) },
		"an unknown weighting": func(b *Batch[float64]) { _, _ = EvaluateAWM(AWM{}, b, nil) },
		"NFT without beta":     func(b *Batch[float64]) { _, _ = EvaluateNFT(DiffusionNFT{AdvantageClip: 1}, b, nil) },
		"NFT without an old policy": func(b *Batch[float64]) {
			b.OldModelOutput = nil
			_, _ = EvaluateNFT(DiffusionNFT{Beta: 1, AdvantageClip: 1}, b, nil)
		},
		"a dense Huber weighting": func(b *Batch[float64]) {
			_, _ = EvaluateAWM(AWM{Weighting: Huber, Ratio: flowgrpo.DirectRatio}, b, nil)
		},
		"an image ratio of a map": func(b *Batch[float64]) {
			b.Weight = make([]float64, b.Shape.MapLen())
			_, _ = EvaluateAWM(AWM{Weighting: Uniform}, b, nil)
		},
		"DPO of differing shapes":    func(b *Batch[float64]) { c, _ := pairs(b); _, _ = EvaluateDPO(DiffusionDPO{}, b, c, nil, nil) },
		"a gradient of wrong length": func(b *Batch[float64]) { _, _ = EvaluateAWM(AWM{Weighting: Uniform}, b, make([]float64, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call(randomBatch(rand.New(rand.NewPCG(8, 1)), shapes()[0], false))
		})
	}
}
