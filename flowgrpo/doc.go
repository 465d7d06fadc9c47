// Package flowgrpo is the mathematics of Flow-GRPO, DenseFlow-GRPO and
// BoxFlow-GRPO: what a trainer needs on the policy's side of the loss.
package flowgrpo
