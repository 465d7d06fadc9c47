// Package scoring makes rewards of what an evaluator finds in images.
package scoring
