// Package reward is the leaf that every other package shares: the Evaluator
// interface, the samples that go in, the scores, heatmaps and boxes that come
// out, and the wire types of protocol version 1.
//
// Conventions. Pictures are 8-bit RGB, interleaved, row major. Heatmaps are
// float32 in [0,1], row major, height before width; 1 means "flawed here".
// Scores are float64 in [0,1]; 1 is best. Boxes are [x0,y0,x1,y1] in
// thousandths of the picture's width and height.
package reward
