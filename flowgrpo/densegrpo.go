package flowgrpo

import "fmt"

// StepGains fills dst (N,T,L) with the step rewards of DenseGRPO, equation 7 of
// arXiv 2601.20218,
//
//	dR_t = R_{t-1} - R_t,
//
// where R_t, rewards (N,T+1,L), is the reward of the image to which the ODE completes
// x_t, from the noise at index 0 to the finished image at index T. L is 1 for scalar
// rewards; with reward maps the gain is that of each location. A sample's gains add
// up to what the whole rollout gained.
//
// [MapAdvantages] with T*L locations then normalises every step over its group by
// itself, which is equation 10; its Epsilon is the only departure, which the
// paper lacks and the public code of TurningPoint-GRPO (arXiv 2602.06422), which has the
// same gains, adds as 1e-4. It fails, naming the sample, for a reward that is NaN or infinite or
// a gain that its type cannot hold, and panics on wrong lengths.
func StepGains[T Float](dst, rewards []T, steps, locations int) error {
	if steps < 1 || locations < 1 || len(rewards)%((steps+1)*locations) != 0 {
		panic(fmt.Sprintf("flowgrpo: %d rewards do not divide into %d steps and a last one of %d locations", len(rewards), steps, locations))
	}
	n := len(rewards) / ((steps + 1) * locations)
	if len(dst) != n*steps*locations {
		panic(fmt.Sprintf("flowgrpo: dst has %d values for the gains of %d samples in %d steps", len(dst), n, steps))
	}
	width := (steps + 1) * locations
	for i := range rewards {
		if !finite(float64(rewards[i])) {
			return fmt.Errorf("flowgrpo: reward of sample %d is %v before step %d", i/width, rewards[i], i%width/locations)
		}
	}
	for sample := range n {
		before, gains := rewards[sample*width:(sample+1)*width], dst[sample*steps*locations:(sample+1)*steps*locations]
		for i := range gains {
			gains[i] = T(float64(before[i+locations]) - float64(before[i]))
			if !finite(float64(gains[i])) {
				return fmt.Errorf("flowgrpo: gain of sample %d is %v in step %d", sample, gains[i], i/locations)
			}
		}
	}
	return nil
}

// CalibrateNoise moves the noise level psi(t) of every step (T) as algorithm 1 of
// arXiv 2601.20218 does after the gains (N,T) of a batch: up by rate where the steps
// that gained and those that lost differ in number by less than tolerance, and down
// elsewhere, but not below 0. It panics on wrong lengths.
func CalibrateNoise(psi, gains []float64, tolerance int, rate float64) {
	if len(psi) == 0 || len(gains)%len(psi) != 0 {
		panic(fmt.Sprintf("flowgrpo: %d gains for %d steps", len(gains), len(psi)))
	}
	for t := range psi {
		var balance int
		for i := t; i < len(gains); i += len(psi) {
			switch {
			case gains[i] > 0:
				balance++
			case gains[i] < 0:
				balance--
			}
		}
		if balance < 0 {
			balance = -balance
		}
		if balance < tolerance {
			psi[t] += rate
		} else {
			psi[t] = max(psi[t]-rate, 0)
		}
	}
}
