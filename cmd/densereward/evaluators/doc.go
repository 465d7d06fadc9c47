// Package evaluators opens the evaluators that a command line or a
// configuration file names: it holds the kinds there are, plans which runs
// where, and loads them.
//
// A new kind is a line in Kinds.
package evaluators
