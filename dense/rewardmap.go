package dense

// Weight fills dst with 1-H, the factor that DenseFlow-GRPO's published code
// puts on the scalar advantage at each location. dst may be heatmap. It panics
// if the lengths differ.
func Weight[T Float](dst, heatmap []T) {
	checkLength("heatmap", len(heatmap), len(dst))
	for i, h := range heatmap {
		dst[i] = 1 - h
	}
}

// Reward fills dst with R_D = R (1-H), the dense reward of DenseFlow-GRPO's
// paper. dst may be heatmap. It panics if the lengths differ.
func Reward[T Float](dst []T, reward float64, heatmap []T) {
	checkLength("heatmap", len(heatmap), len(dst))
	for i, h := range heatmap {
		dst[i] = T(reward * (1 - float64(h)))
	}
}
