// Package rewardtest tests evaluators: Run is the suite that every one passes,
// and Fake is one without a model, whose answers identify their samples.
package rewardtest
