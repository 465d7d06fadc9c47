package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/denseflow/densereward/internal/loadgen"
)

// row is one combination that was measured.
type row struct {
	server      string
	peer        bool
	form        loadgen.Form
	concurrency int
	report      *loadgen.Report
	others      float64 // share of the machine
}

// writeTable prints the rows, each with its ratio to the peer of its form.
func writeTable(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "server\tform\tin flight\timages/s\tCPU ms/image\tp50 ms\tp99 ms\tothers %\tx images/s\tx less CPU\t")
	for _, r := range rows {
		rate, cpu := "", ""
		if peer := peerOf(rows, r); peer != nil && !r.peer {
			rate = fmt.Sprintf("%.1f", r.report.ImagesPerSecond/peer.report.ImagesPerSecond)
			if r.report.ServerCPU > 0 {
				cpu = fmt.Sprintf("%.1f", peer.report.ServerCPU/r.report.ServerCPU)
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t%s\t%s\t\n", r.server, r.form, r.concurrency,
			r.report.ImagesPerSecond, r.report.ServerCPU, r.report.Latency.P50, r.report.Latency.P99, 100*r.others, rate, cpu)
	}
	return t.Flush()
}

// peerOf is the peer's row of the same form and concurrency.
func peerOf(rows []row, of row) *row {
	for i := range rows {
		if r := &rows[i]; r.peer && r.form == of.form && r.concurrency == of.concurrency {
			return r
		}
	}
	return nil
}
