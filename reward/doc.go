// Package reward is the leaf that every other package shares: the Evaluator
// interface and its Description, the samples that go in, the scores, maps and
// boxes that come out, what can be asked of them (weights, grids, groups,
// advantages), and the errors, whose codes never change.
//
// Conventions. Images are 8-bit RGB, interleaved, row major. Maps are float32
// in [0,1], row major, height before width; 1 means "flawed here". Scores are
// float64 in the range that their description names; more is better. Boxes are
// [x0,y0,x1,y1] in thousandths of the image's width and height.
package reward
