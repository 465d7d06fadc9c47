package flowgrpo

import (
	"encoding/json"
	"testing"

	"github.com/denseflow/densereward/flowgrpo/internal/goldens"
	"github.com/denseflow/densereward/internal/numtest"
)

// The tolerances that the results of the reference are held to. float64 differs
// only by the order of operations; float32 also by one rounding of each input.
var (
	exact64 = numtest.Tolerance{Abs: 1e-12, Rel: 1e-9}
	exact32 = numtest.Tolerance{Abs: 1e-12, Rel: 2e-5}
)

// cases holds the results of the public reference code.
type cases struct {
	Schedules  []scheduleCase  `json:"schedules"`
	Steps      []stepCase      `json:"steps"`
	Losses     []lossCase      `json:"losses"`
	Advantages []advantageCase `json:"advantages"`
	ZeroStd    []zeroStdCase   `json:"zero_std"`
	BoxMaps    []boxMapCase    `json:"box_maps"`
}

type scheduleCase struct {
	Kind        string    `json:"kind"`
	Shift       float64   `json:"shift"`
	ImageSeqLen int       `json:"image_seq_len"`
	Mu          float64   `json:"mu"`
	Steps       int       `json:"steps"`
	Sigmas      []float32 `json:"sigmas"`
	Timesteps   []float32 `json:"timesteps"`
}

type stepCase struct {
	Shape       [4]int  `json:"shape"`
	NoiseLevel  float64 `json:"noise_level"`
	StepIndex   []int   `json:"step_index"`
	Sample      tensor  `json:"sample"`
	ModelOutput tensor  `json:"model_output"`
	PrevSample  tensor  `json:"prev_sample"`
	SDE         stepOut `json:"sde"`
	CPS         stepOut `json:"cps"`
}

type stepOut struct {
	Mean       tensor    `json:"mean"`
	StdDev     []float64 `json:"std_dev_t"`
	LogProb    []float64 `json:"log_prob"`
	LogProbMap tensor    `json:"log_prob_map"`
}

type lossCase struct {
	Shape          [4]int                 `json:"shape"`
	ClipRange      float64                `json:"clip_range"`
	KLBeta         float64                `json:"kl_beta"`
	AdvClipMax     float64                `json:"adv_clip_max"`
	NoiseLevel     float64                `json:"noise_level"`
	StepIndex      []int                  `json:"step_index"`
	Sample         tensor                 `json:"sample"`
	PrevSample     tensor                 `json:"prev_sample"`
	ModelOutput    tensor                 `json:"model_output"`
	RefModelOutput tensor                 `json:"ref_model_output"`
	OldLogProbMap  tensor                 `json:"old_log_prob_map"`
	Advantages     []float64              `json:"advantages"`
	Heatmap        tensor                 `json:"heatmap"`
	AdvantageMap   tensor                 `json:"advantage_map"`
	Variants       map[string]lossVariant `json:"variants"`
}

type lossVariant struct {
	Loss            float64   `json:"loss"`
	PolicyLoss      float64   `json:"policy_loss"`
	KLLoss          *float64  `json:"kl_loss"`
	RatioMap        tensor    `json:"ratio_map"`
	RatioMean       []float64 `json:"ratio_mean"`
	ApproxKL        *float64  `json:"approx_kl"`
	ClipFrac        *float64  `json:"clipfrac"`
	ClipFracGtOne   *float64  `json:"clipfrac_gt_one"`
	ClipFracLtOne   *float64  `json:"clipfrac_lt_one"`
	GradModelOutput tensor    `json:"grad_model_output"`
}

type advantageCase struct {
	Prompts        []string          `json:"prompts"`
	Rewards        tensor            `json:"rewards"`
	Out            map[string]tensor `json:"out"`
	GroupSize      float64           `json:"group_size"`
	TrainedPrompts int               `json:"trained_prompts"`
}

type zeroStdCase struct {
	Prompts       []string  `json:"prompts"`
	Rewards       []float64 `json:"rewards"`
	ZeroStdRatio  float64   `json:"zero_std_ratio"`
	RewardStdMean float64   `json:"reward_std_mean"`
}

type boxMapCase struct {
	Rewards      []float64 `json:"rewards"`
	LatentSize   int       `json:"latent_size"`
	RewardMap    tensor    `json:"reward_map"`
	SigmaMin     float64   `json:"sigma_min"`
	AdvantageMap tensor    `json:"advantage_map"`
}

// tensor is a nested array, flattened row major.
type tensor []float64

func (t *tensor) UnmarshalJSON(data []byte) error {
	var nested any
	if err := json.Unmarshal(data, &nested); err != nil {
		return err
	}
	*t = flatten(nil, nested)
	return nil
}

func flatten(into tensor, nested any) tensor {
	switch v := nested.(type) {
	case float64:
		return append(into, v)
	case []any:
		for _, element := range v {
			into = flatten(into, element)
		}
	}
	return into
}

// readCases reads testdata/cases.json.gz.
func readCases(tb testing.TB) cases {
	tb.Helper()
	var c cases
	goldens.Decode(tb, "cases.json.gz", &c)
	if len(c.Schedules) == 0 || len(c.Steps) == 0 || len(c.Losses) == 0 ||
		len(c.Advantages) == 0 || len(c.ZeroStd) == 0 || len(c.BoxMaps) == 0 {
		tb.Fatal("the reference file holds no cases")
	}
	return c
}

// convert gives a tensor in the element type under test.
func convert[T Float](values []float64) []T {
	if values == nil {
		return nil
	}
	out := make([]T, len(values))
	for i, v := range values {
		out[i] = T(v)
	}
	return out
}
