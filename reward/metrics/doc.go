// Package metrics measures evaluators against human labels, and models by the
// scores an evaluator gave them. Everything is float64.
//
// Every result is finite: lengths that differ, too few values and values that
// are NaN or infinite are errors, and where a formula divides by zero the value
// below is defined.
//
//	correlation with constant scores     0
//	CC where either map is constant      0
//	NSS of a constant map                0
//	KLD, SIM of a map that is all zero   those of the uniform map
//	AUC-Judd where all or no cells are
//	fixated                              0.5
//	precision, recall, F1 of 0/0         0
//	pairwise accuracy, win rate          ties count one half
//	a mean over no samples               0, with N = 0
//
// # Sources
//
// Correlations: scipy.stats.pearsonr, spearmanr and kendalltau (tau-b). Maps:
// Bylinskii et al., "What do different evaluation metrics tell us about saliency
// models?" (arXiv 1604.03605), which RichHF-18K (arXiv 2312.10240, section 5) and
// ImageDoctor (arXiv 2510.01010) report; MSE on all samples and those with an
// empty truth, the others on those whose truth is not empty. Presence and box F1:
// SDG-Eval (arXiv 2606.06113). Intervals: Student's t for a mean, Wilson (1927)
// for a rate, the percentile bootstrap (Efron 1979) for everything else.
package metrics
