// Package report measures the rows of labelled shards: the means of scores by
// group, two models on the same prompts, an evaluator against human labels.
//
// A Builder takes one row after the other and keeps the numbers it needs of each,
// not the row. What it makes is a Report, which is JSON as it stands and can be
// written as Markdown and as one self-contained HTML page. Every number comes
// from package metrics, where its formula is.
package report
