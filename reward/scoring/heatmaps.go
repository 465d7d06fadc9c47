package scoring

import "github.com/denseflow/densereward/reward"

// Heatmaps stacks the evaluator's k-th maps as a float32 tensor (N,h,w), NaN
// where a sample failed. Those whose size varies must be of one size here, else
// it fails with reward.ErrGridMismatch.
func (e *Evaluated) Heatmaps(k int) (*reward.Tensor, error) {
	height, width, err := e.mapSize(k)
	if err != nil {
		return nil, err
	}
	n, values := len(e.Outcomes), height*width
	stack := make([]float32, n*values)
	for i := range e.Outcomes {
		one := stack[i*values : (i+1)*values]
		if e.Errors[i] != nil {
			fillNaN(one)
			continue
		}
		copy(one, e.Outcomes[i].Maps[k].Data)
	}
	return reward.Float32Tensor(stack, n, height, width), nil
}

// mapSize is the one size of the evaluator's k-th maps, one cell where there is
// none.
func (e *Evaluated) mapSize(k int) (height, width int, err error) {
	spec := e.Evaluator.Maps[k]
	height, width = spec.Height, spec.Width
	if height > 0 {
		return height, width, nil
	}
	for i := range e.Outcomes {
		if e.Errors[i] != nil {
			continue
		}
		switch m := &e.Outcomes[i].Maps[k]; {
		case len(m.Data) == 0:
		case height == 0:
			height, width = m.Height, m.Width
		case height != m.Height || width != m.Width:
			return 0, 0, reward.ErrGridMismatch.With("return: heatmaps.%s: maps of %dx%d and %dx%d do not fit one tensor: ask for \"dense\"",
				spec.Name, height, width, m.Height, m.Width)
		}
	}
	return max(height, 1), max(width, 1), nil
}
