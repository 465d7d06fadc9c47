// Package offline has the commands that work on data sets: relabel, evaluate and
// rank. What they do is in packages reward/relabel and reward/metrics; here are
// their flags and what they print.
package offline
