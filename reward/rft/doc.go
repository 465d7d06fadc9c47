// Package rft computes the rewards of ImageDoctor's reinforcement fine-tuning:
// what a completion of the evaluator itself, four scores, boxes it looked at and
// two heatmaps, earns against the truth that people gave.
//
// The formulas are those of EthanG97/ImageDoctor at commit f541579,
// modify/VLM-R1/src/open_r1/grpo_jsonl_np.py (lines 918-1462; the paper is
// arXiv 2510.01010). The published run names twelve rewards, sums them
// unweighted and normalises the sums over the completions of one prompt
// (trainer/grpo_trainer.py, lines 767-777):
//
//	score rewards        1 - 3|p - g|; p and g are 0 where a block lacks the score
//	location heatmaps    1 - clip(k MSE, 0, 1); k is 80 for misalignment, 40 for artifact
//	bounding box iou     1 - mean IoU over the pairs of boxes: boxes should not overlap
//	bounding box avepixel  mean over boxes of the truth's mean inside the box
//	bounding box union   share of the truth's sum inside the union of the boxes
//
// Coordinates of boxes are pixels of a 512x512 image. Heatmaps are (288,288)
// float32 in [0,1], row major; 1 is flawed.
//
//	truth := rft.Truth{Scores: rft.ParseScores(solution), Misalignment: m, Artifact: a}
//	rewards, err := rft.Evaluate(rft.Completion{Text: text}, truth)
//	fmt.Println(rewards[rft.Semantic], rewards.Sum())
//
// # Deviations
//
// Where the public code fails or leaves a NaN, this package has a value:
//
//   - A map of another size is resized to 288x288 bilinearly, as the public code
//     does for the heatmap rewards, also for the box rewards, for which it
//     keeps the truth's size although boxes are scaled for 288.
//   - Coordinates are clamped to ±1e9, beyond which areas overflow float32.
//   - A NaN or infinity in a map is an error that names the map.
package rft
