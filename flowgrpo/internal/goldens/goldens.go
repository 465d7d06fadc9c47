// Package goldens reads the results of public code in flowgrpo/testdata, whose scripts say
// how they were made.
package goldens

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

type Methods struct {
	Transitions []Transition `json:"transitions"`
	Forward     []Forward    `json:"forward"`
	Advantages  Advantages   `json:"advantages"`
	Windows     []Window     `json:"windows"`
}

// Result is a loss with its gradient by the model output and what else was logged.
type Result struct {
	Loss           float64   `json:"loss"`
	Grad           []float64 `json:"grad"`
	RatioMean      float64   `json:"ratio_mean"`
	Masked         float64   `json:"masked"`
	DivergenceMean float64   `json:"divergence_mean"`
	DivergenceMax  float64   `json:"divergence_max"`
	Positive       float64   `json:"positive"`
	Negative       float64   `json:"negative"`
	KL             float64   `json:"kl"`
	Accuracy       float64   `json:"accuracy"`
	Margin         float64   `json:"margin"`
}

// Transition is a batch of transitions of one step of the schedule of ten steps with
// shift 3, and the losses that were taken of it.
type Transition struct {
	Shape          [4]int    `json:"shape"`
	Index          int       `json:"index"`
	NoiseLevel     float64   `json:"noise_level"`
	ClipRange      float64   `json:"clip_range"`
	Threshold      float64   `json:"threshold"`
	KLBeta         float64   `json:"kl_beta"`
	AdvClipMax     float64   `json:"adv_clip_max"`
	Sample         []float64 `json:"sample"`
	PrevSample     []float64 `json:"prev_sample"`
	ModelOutput    []float64 `json:"model_output"`
	OldModelOutput []float64 `json:"old_model_output"`
	RefModelOutput []float64 `json:"ref_model_output"`
	Advantages     []float64 `json:"advantages"`
	Weight         []float64 `json:"weight"`
	Guard          Result    `json:"guard"`
	GuardVerl      Result    `json:"guard_verl"`    // without KL
	GuardFactory   Result    `json:"guard_factory"` // without KL or the division by -dt
	DPPO           Result    `json:"dppo"`
	DPPOUnscaled   Result    `json:"dppo_unscaled"`
	TempFlow       Result    `json:"tempflow"`
}

// Forward is a batch of images noised anew, and the losses that were taken of it. For
// DPO its first half is chosen over its second.
type Forward struct {
	Shape          [4]int    `json:"shape"`
	Sigma          []float64 `json:"sigma"`
	Clean          []float64 `json:"clean"`
	Noise          []float64 `json:"noise"`
	Noised         []float64 `json:"noised"`
	ModelOutput    []float64 `json:"model_output"`
	OldModelOutput []float64 `json:"old_model_output"`
	RefModelOutput []float64 `json:"ref_model_output"`
	Advantages     []float64 `json:"advantages"`
	Weight         []float64 `json:"weight"`
	AdvClipMax     float64   `json:"adv_clip_max"`
	ClipRange      float64   `json:"clip_range"`
	NFTBeta        float64   `json:"nft_beta"`
	KLBeta         float64   `json:"kl_beta"`
	HuberPower     float64   `json:"huber_power"`
	DPOBeta        float64   `json:"dpo_beta"`
	NFT            Result    `json:"nft"`
	AWMUniform     Result    `json:"awm_Uniform"`
	AWMLinear      Result    `json:"awm_t"`
	AWMQuadratic   Result    `json:"awm_t**2"`
	AWMHuber       Result    `json:"awm_huber"`
	AWMGHuber      Result    `json:"awm_ghuber"`
	DPO            Result    `json:"dpo"`
	DPOVerl        Result    `json:"dpo_verl"`
}

// Advantages holds rewards (N,K) with GDPO's advantages (N), and the rewards of
// completed latents (N,T+1) with DenseGRPO's gains and advantages (N,T).
type Advantages struct {
	Groups         []float64 `json:"groups"`
	Rewards        []float64 `json:"rewards"`
	Weights        []float64 `json:"weights"`
	GDPOTRL        []float64 `json:"gdpo_trl"`
	GDPOFactory    []float64 `json:"gdpo_factory"`
	LatentRewards  []float64 `json:"latent_rewards"`
	Gains          []float64 `json:"gains"`
	StepAdvantages []float64 `json:"step_advantages"`
	NoiseWeights   []float64 `json:"noise_weights"` // of TempFlow-GRPO, (T)
}

// Window is where a window of MixGRPO was, iteration by iteration.
type Window struct {
	Settings struct {
		Strategy string `json:"sample_strategy"`
		Interval int    `json:"iters_per_group"`
		Size     int    `json:"group_size"`
		Steps    int    `json:"max_timesteps"`
		Overlap  bool   `json:"prog_overlap"`
		Stride   int    `json:"prog_overlap_step"`
		RollBack bool   `json:"roll_back"`
		Start    int    `json:"cur_timestep"`
	} `json:"settings"`
	Steps [][]int `json:"steps"`
}

// Star is STAR written down a second time: a group's rewards and advantages (N), and of
// two steps a mask (N,L), the credit that it allocates and the loss of that.
type Star struct {
	Shape      [4]int    `json:"shape"`
	Groups     []int     `json:"groups"`
	Rewards    []float64 `json:"rewards"`
	Advantages []float64 `json:"advantages"`
	NoiseLevel float64   `json:"noise_level"`
	ClipRange  float64   `json:"clip_range"`
	Steps      []struct {
		Index          int        `json:"index"`
		Sample         []float64  `json:"sample"`
		PrevSample     []float64  `json:"prev_sample"`
		ModelOutput    []float64  `json:"model_output"`
		OldModelOutput []float64  `json:"old_model_output"`
		Mask           []float64  `json:"mask"`
		Plain          StarResult `json:"plain"`
		Normalized     StarResult `json:"normalized"`
	} `json:"steps"`
}

// StarResult is the credit (N,L), its loss and the gradient by the model output.
type StarResult struct {
	Credit []float64 `json:"credit"`
	Loss   float64   `json:"loss"`
	Grad   []float64 `json:"grad"`
}

// Read reads the cases of all methods.
func Read(tb testing.TB) Methods {
	tb.Helper()
	var m Methods
	Decode(tb, "methods.json.gz", &m)
	if len(m.Transitions) == 0 || len(m.Forward) == 0 || len(m.Windows) == 0 || len(m.Advantages.GDPOTRL) == 0 {
		tb.Fatal("the file holds no cases")
	}
	return m
}

// Decode reads a compressed file of flowgrpo's testdata.
func Decode(tb testing.TB, name string, into any) {
	tb.Helper()
	_, here, _, _ := runtime.Caller(0)
	file, err := os.Open(filepath.Join(filepath.Dir(here), "../../testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.NewDecoder(unzipped).Decode(into); err != nil {
		tb.Fatal(err)
	}
}
