package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/front"
)

// authority signs certificates for the host "server".
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pemText("CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue makes a certificate and its key, as PEM.
func (a *authority) issue(serial int64) (cert, key string) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"server"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemText("CERTIFICATE", der), pemText("PRIVATE KEY", secret)
}

// serveTLS serves the stack over TLS on a loopback port.
func serveTLS(t *testing.T, c *credentials.Certificate) net.Addr {
	t.Helper()
	s := newStack(t, &rewardtest.Fake{}, nil)
	l, err := front.Listen(t.Context(), "127.0.0.1:0", false, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	facing := front.Default()
	facing.Certificate, facing.Logger = c, quiet()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- facing.Serve(ctx, l, s.server, s.readiness, s.scheduler.Shutdown) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr()
}

// visit asks for /healthz over TLS and returns the serial number of the
// server's certificate.
func visit(t *testing.T, address net.Addr, cfg *tls.Config) (int64, error) {
	t.Helper()
	cfg.ServerName = "server"
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + address.String() + "/healthz")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 1 {
		t.Errorf("status %d over HTTP/%d", resp.StatusCode, resp.ProtoMajor)
	}
	if resp.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security")
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestTheCertificateFollowsItsFiles(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	files := credentials.CertificateFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	cert, key := ca.issue(100)
	writeFile(t, files.Cert, cert)
	writeFile(t, files.Key, key)
	c, err := credentials.OpenCertificate(files)
	if err != nil {
		t.Fatal(err)
	}
	address := serveTLS(t, c)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	wantSerial := func(want int64) {
		t.Helper()
		if got, err := visit(t, address, &tls.Config{RootCAs: roots}); err != nil || got != want {
			t.Errorf("certificate %d, error %v; want %d", got, err, want)
		}
	}
	wantSerial(100)
	cert, key = ca.issue(101)
	writeFile(t, files.Cert, cert) // the key is still the old one
	if err := c.Reload(); err == nil {
		t.Error("a certificate was taken with the key of another")
	}
	wantSerial(100)
	writeFile(t, files.Key, key)
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	wantSerial(101)
}

func TestClientsMustShowACertificateIfAskedTo(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	cert, key := ours.issue(1)
	c, err := credentials.OpenCertificate(credentials.CertificateFiles{
		Cert:     writeFile(t, filepath.Join(dir, "cert.pem"), cert),
		Key:      writeFile(t, filepath.Join(dir, "key.pem"), key),
		ClientCA: writeFile(t, filepath.Join(dir, "clients.pem"), ours.pem),
	})
	if err != nil {
		t.Fatal(err)
	}
	address := serveTLS(t, c)
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	for _, tt := range []struct {
		name   string
		signer *authority // nil shows none
		ok     bool
	}{
		{"a client with a certificate of the authority", ours, true},
		{"a client with one of another authority", theirs, false},
		{"a client without a certificate", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := &tls.Config{RootCAs: roots}
			if tt.signer != nil {
				cert, key := tt.signer.issue(2)
				pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
				if err != nil {
					t.Fatal(err)
				}
				cfg.Certificates = []tls.Certificate{pair}
			}
			if _, err := visit(t, address, cfg); (err == nil) != tt.ok {
				t.Errorf("error %v, want success %v", err, tt.ok)
			}
		})
	}
}

func TestCertificateFilesAreChecked(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(1)
	for _, tt := range []struct{ name, cert, key, ca string }{
		{"no certificate", "", key, ca.pem},
		{"no key", cert, "", ca.pem},
		{"a key of another", cert, ca.pem, ca.pem},
		{"no authority in its file", cert, key, "nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := credentials.OpenCertificate(credentials.CertificateFiles{
				Cert: writeFile(t, "c", tt.cert), Key: writeFile(t, "k", tt.key), ClientCA: writeFile(t, "a", tt.ca),
			})
			if err == nil {
				t.Error("was taken")
			}
		})
	}
}
