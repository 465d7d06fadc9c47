package goldens_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/forward"
	"github.com/denseflow/densereward/flowgrpo/trustregion"
	"github.com/denseflow/densereward/internal/numtest"
)

var update = flag.Bool("update", false, "write flowgrpo/testdata/vectors.json.gz")

const path = "../../testdata/vectors.json.gz"

// vectors are inputs with what this module makes of them, for the tests of
// densereward.torch: the dense forms among them, which no public code has.
type vectors struct {
	Shape      [4]int               `json:"shape"`
	Index      []int                `json:"index"` // of the schedule of ten steps with shift 3
	NoiseLevel float64              `json:"noise_level"`
	Inputs     map[string][]float64 `json:"inputs"`
	Cases      []vector             `json:"cases"`
	Groups     []int                `json:"groups"`
	Weights    []float64            `json:"weights"` // of GDPO's rewards
	Outputs    map[string][]float64 `json:"outputs"` // advantages and maps
}

// vector is a loss: its settings by the names of densereward.torch.
type vector struct {
	Loss     string         `json:"loss"`
	Method   string         `json:"method,omitempty"`
	Settings map[string]any `json:"settings"`
	Dense    bool           `json:"dense"`
	Value    float64        `json:"value"`
	KL       float64        `json:"kl"`
	ClipFrac float64        `json:"clip_frac"`
	Grad     []float64      `json:"grad"`
}

func TestVectorsAreThoseOfThisModule(t *testing.T) {
	made := makeVectors(t)
	if *update {
		var buffer bytes.Buffer
		zipped := gzip.NewWriter(&buffer)
		if err := json.NewEncoder(zipped).Encode(made); err != nil {
			t.Fatal(err)
		}
		if err := zipped.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, buffer.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept := readVectors(t)
	tol := numtest.Tolerance{Abs: 1e-14, Rel: 1e-12} // another processor may fuse a product and a sum
	if len(kept.Cases) != len(made.Cases) || len(kept.Outputs) != len(made.Outputs) {
		t.Fatalf("%d cases and %d outputs are kept of %d and %d: go test ./flowgrpo/internal/goldens -update",
			len(kept.Cases), len(kept.Outputs), len(made.Cases), len(made.Outputs))
	}
	for name, values := range made.Inputs {
		numtest.Slice(t, name, values, kept.Inputs[name], numtest.Tolerance{})
	}
	for i, c := range made.Cases {
		name := fmt.Sprintf("case %d %s", i, c.Loss)
		numtest.Value(t, name, c.Value, kept.Cases[i].Value, tol)
		numtest.Slice(t, name+" gradient", c.Grad, kept.Cases[i].Grad, tol)
	}
	for name, values := range made.Outputs {
		numtest.Slice(t, name, values, kept.Outputs[name], tol)
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// maker makes the cases of one set of inputs.
type maker struct {
	t     *testing.T
	v     *vectors
	shape flowgrpo.Shape
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	rng := rand.New(rand.NewPCG(2026, 1))
	v := vectors{Shape: [4]int{4, 3, 2, 5}, Index: []int{0, 3, 5, 8}, NoiseLevel: 0.7, Groups: []int{0, 0, 1, 1}, Weights: []float64{1, 0.5, 2}}
	shape := flowgrpo.Latents(v.Shape[0], v.Shape[1], v.Shape[2], v.Shape[3])
	normals := func(n int, scale float64, around []float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = scale * rng.NormFloat64()
			if around != nil {
				out[i] += around[i]
			}
		}
		return out
	}
	uniform := func(n int, least float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = least + (1-least)*rng.Float64()
		}
		return out
	}
	latents, maps := shape.Len(), shape.MapLen()
	in := map[string][]float64{"sample": normals(latents, 1, nil), "old_model_output": normals(latents, 1, nil)}
	in["model_output"], in["ref_model_output"] = normals(latents, 0.1, in["old_model_output"]), normals(latents, 0.1, in["old_model_output"])
	in["clean"], in["noise"], in["sigma"] = normals(latents, 1, nil), normals(latents, 1, nil), uniform(shape.Batch, 0.05)
	in["advantages"], in["advantage_map"] = normals(shape.Batch, 2, nil), normals(maps, 2, nil)
	in["weight"], in["step_weights"] = uniform(maps, 0), uniform(shape.Batch, 0.2)
	in["rewards"], in["reward_map"], in["second_map"] = normals(shape.Batch, 1, nil), normals(maps, 1, nil), normals(maps, 20, nil)
	in["latent_rewards"] = normals(shape.Batch*4*5, 1, nil) // (N,T+1,L) with three steps
	v.Inputs, v.Outputs = in, make(map[string][]float64)

	m := maker{t, &v, shape}
	noise := make([]flowgrpo.NormSource, shape.Batch)
	for i := range noise {
		noise[i] = rng
	}
	in["prev_sample"] = make([]float64, latents)
	flowgrpo.SampleStep(in["prev_sample"], shape, m.steps(flowgrpo.SDE), in["old_model_output"], in["sample"], noise)
	m.policyLosses()
	m.trustRegions()
	m.forwards()
	m.advantages()
	return v
}

func (m maker) steps(method flowgrpo.Method) []flowgrpo.Step {
	schedule := flowgrpo.NewSchedule(10, 3)
	var steps []flowgrpo.Step
	for _, index := range m.v.Index {
		steps = append(steps, schedule.Step(index, method, m.v.NoiseLevel))
	}
	return steps
}

// credit is an advantage for each image, or a map of them with weights.
func (m maker) credit(dense bool) flowgrpo.Credit[float64] {
	in := m.v.Inputs
	if dense {
		return flowgrpo.Credit[float64]{AdvantageMap: in["advantage_map"], Weight: in["weight"], StepWeights: in["step_weights"]}
	}
	return flowgrpo.Credit[float64]{Advantages: in["advantages"], StepWeights: in["step_weights"]}
}

var ratios = []flowgrpo.Ratio{flowgrpo.ImageRatio, flowgrpo.DetachedRatio, flowgrpo.DirectRatio}

func (m maker) keep(c vector, err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	m.v.Cases = append(m.v.Cases, c)
}

func (m maker) policyLosses() {
	in, names := m.v.Inputs, []string{"flow_grpo", "dense_flow_grpo", "box_flow_grpo"}
	for _, method := range []flowgrpo.Method{flowgrpo.SDE, flowgrpo.CPS} {
		for i, ratio := range ratios {
			loss := flowgrpo.Loss{Ratio: ratio, ClipRange: 0.02, AdvantageClip: 2.5, KLBeta: 0.04}
			batch := &flowgrpo.Batch[float64]{
				Shape: m.shape, Steps: m.steps(method), Sample: in["sample"], PrevSample: in["prev_sample"],
				ModelOutput: in["model_output"], RefModelOutput: in["ref_model_output"],
				OldLogProbMap: make([]float64, m.shape.MapLen()), Credit: m.credit(ratio != flowgrpo.ImageRatio),
			}
			flowgrpo.LogProb(nil, batch.OldLogProbMap, m.shape, batch.Steps, in["old_model_output"], in["sample"], in["prev_sample"])
			m.v.Outputs["old_log_prob_"+method.String()] = batch.OldLogProbMap
			results := &flowgrpo.Results[float64]{GradModelOutput: make([]float64, m.shape.Len())}
			d, err := flowgrpo.NewFusedLoss[float64](loss, 1).Evaluate(batch, results)
			m.keep(vector{
				Loss: names[i], Method: method.String(), Dense: ratio != flowgrpo.ImageRatio,
				Settings: map[string]any{"clip_range": 0.02, "advantage_clip": 2.5, "kl_beta": 0.04},
				Value:    d.Loss, KL: d.KL, ClipFrac: d.ClipFrac, Grad: results.GradModelOutput,
			}, err)
		}
	}
}

func (m maker) trustRegions() {
	in := m.v.Inputs
	for _, ratio := range ratios {
		batch := &trustregion.Batch[float64]{
			Shape: m.shape, Steps: m.steps(flowgrpo.SDE), Sample: in["sample"], PrevSample: in["prev_sample"], ModelOutput: in["model_output"],
			OldModelOutput: in["old_model_output"], RefModelOutput: in["ref_model_output"], Credit: m.credit(ratio != flowgrpo.ImageRatio),
		}
		for _, c := range []struct {
			name     string
			loss     trustregion.Loss
			settings map[string]any
		}{
			{"grpo_guard", trustregion.GRPOGuard{Ratio: ratio, ClipRange: 2e-3, AdvantageClip: 2.5, KLBeta: 0.04},
				map[string]any{"ratio": ratio.String(), "clip_range": 2e-3, "advantage_clip": 2.5, "kl_beta": 0.04}},
			{"grpo_guard", trustregion.GRPOGuard{Ratio: ratio, ClipRange: 2e-3, Unweighted: true},
				map[string]any{"ratio": ratio.String(), "clip_range": 2e-3, "advantage_clip": 0.0, "unweighted": true}},
			{"flow_dppo", trustregion.FlowDPPO{Ratio: ratio, Threshold: 3e-5, KLBeta: 0.04},
				map[string]any{"ratio": ratio.String(), "threshold": 3e-5, "kl_beta": 0.04}},
			{"flow_dppo", trustregion.FlowDPPO{Ratio: ratio, Threshold: 1e-5, Unscaled: true},
				map[string]any{"ratio": ratio.String(), "threshold": 1e-5, "unscaled": true}},
		} {
			grad := make([]float64, m.shape.Len())
			d, err := trustregion.Evaluate(c.loss, batch, grad)
			m.keep(vector{Loss: c.name, Method: "sde", Dense: ratio != flowgrpo.ImageRatio, Settings: c.settings, Value: d.Loss, KL: d.KL, ClipFrac: d.ClipFrac, Grad: grad}, err)
		}
	}
}

func (m maker) forwards() {
	in := m.v.Inputs
	batch := func(dense bool) *forward.Batch[float64] {
		return &forward.Batch[float64]{
			Shape: m.shape, Sigma: in["sigma"], Clean: in["clean"], Noise: in["noise"], ModelOutput: in["model_output"],
			OldModelOutput: in["old_model_output"], RefModelOutput: in["ref_model_output"], Credit: m.credit(dense),
		}
	}
	for _, dense := range []bool{false, true} {
		grad := make([]float64, m.shape.Len())
		d, err := forward.EvaluateNFT(forward.DiffusionNFT{Beta: 0.4, AdvantageClip: 2.5, KLBeta: 0.04}, batch(dense), grad)
		m.keep(vector{Loss: "diffusion_nft", Dense: dense, Settings: map[string]any{"beta": 0.4, "advantage_clip": 2.5, "kl_beta": 0.04}, Value: d.Loss, KL: d.KL, Grad: grad}, err)
	}
	for _, weighting := range []forward.Weighting{forward.Uniform, forward.Linear, forward.Quadratic, forward.Huber, forward.GeneralHuber} {
		for _, ratio := range ratios {
			if ratio != flowgrpo.ImageRatio && (weighting == forward.Huber || weighting == forward.GeneralHuber) {
				continue
			}
			grad := make([]float64, m.shape.Len())
			loss := forward.AWM{Ratio: ratio, Weighting: weighting, HuberPower: 0.25, ClipRange: 0.02, AdvantageClip: 2.5, KLBeta: 0.04}
			d, err := forward.EvaluateAWM(loss, batch(ratio != flowgrpo.ImageRatio), grad)
			m.keep(vector{
				Loss: "awm", Dense: ratio != flowgrpo.ImageRatio,
				Settings: map[string]any{"ratio": ratio.String(), "weighting": string(weighting), "clip_range": 0.02, "advantage_clip": 2.5, "kl_beta": 0.04},
				Value:    d.Loss, KL: d.KL, ClipFrac: d.ClipFrac, Grad: grad,
			}, err)
		}
	}
	for _, dense := range []bool{false, true} {
		m.pairs(batch(dense), dense)
	}
}

// pairs takes the first half of the batch for chosen over the second.
func (m maker) pairs(b *forward.Batch[float64], dense bool) {
	half := func(second bool) *forward.Batch[float64] {
		cut := func(values []float64) []float64 {
			if second {
				return values[len(values)/2:]
			}
			return values[:len(values)/2]
		}
		part := &forward.Batch[float64]{Shape: b.Shape, Sigma: cut(b.Sigma), Clean: cut(b.Clean), Noise: cut(b.Noise), ModelOutput: cut(b.ModelOutput), RefModelOutput: cut(b.RefModelOutput)}
		part.Shape.Batch /= 2
		if dense {
			part.Weight = cut(b.Weight)
		}
		return part
	}
	grad := make([]float64, m.shape.Len())
	d, err := forward.EvaluateDPO(forward.DiffusionDPO{Beta: 20}, half(false), half(true), grad[:len(grad)/2], grad[len(grad)/2:])
	m.keep(vector{Loss: "diffusion_dpo", Dense: dense, Settings: map[string]any{"beta": 20.0}, Value: d.Loss, Grad: grad}, err)
}

func (m maker) advantages() {
	in, groups, locations := m.v.Inputs, flowgrpo.GroupBy(m.v.Groups), m.shape.Locations
	fill := func(name string, n int, compute func(dst []float64) error) {
		dst := make([]float64, n)
		if err := compute(dst); err != nil {
			m.t.Fatal(err)
		}
		m.v.Outputs[name] = dst
	}
	maps := len(in["reward_map"])
	for name, norm := range map[string]flowgrpo.Normalization{
		"flow": flowgrpo.FlowNormalization(false), "flow_global": flowgrpo.FlowNormalization(true), "box": flowgrpo.BoxNormalization(),
	} {
		fill("map_advantages_"+name, maps, func(dst []float64) error {
			return flowgrpo.MapAdvantages(dst, in["reward_map"], locations, groups, norm)
		})
		fill("group_advantages_"+name, m.shape.Batch, func(dst []float64) error {
			return flowgrpo.GroupAdvantages(dst, in["rewards"], groups, norm)
		})
	}
	for name, norm := range map[string]flowgrpo.Normalization{"nvlabs": flowgrpo.GDPONormalization(), "factory": {Floor: 1e-6}} {
		fill("gdpo_"+name, maps, func(dst []float64) error {
			return flowgrpo.GDPOAdvantages(dst, [][]float64{in["rewards"], in["reward_map"], in["second_map"]}, m.v.Weights, locations, groups, norm)
		})
	}
	fill("step_gains", m.shape.Batch*3*5, func(dst []float64) error { return flowgrpo.StepGains(dst, in["latent_rewards"], 3, 5) })
	fill("masked", maps, func(dst []float64) error { return flowgrpo.MaskAdvantages(dst, in["advantages"], in["weight"], false) })
	fill("masked_normalized", maps, func(dst []float64) error { return flowgrpo.MaskAdvantages(dst, in["advantages"], in["weight"], true) })
	fill("noise_weights", m.shape.Batch, func(dst []float64) error { return flowgrpo.NoiseWeights(dst, m.steps(flowgrpo.SDE)) })
	fill("smoothed", maps, func(dst []float64) error {
		copy(dst, in["reward_map"])
		dense.SmoothMaps(dst, m.v.Shape[2], m.v.Shape[3], 2)
		return nil
	})
}
