package credentials

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
)

const maxPEM = 1 << 20

// CertificateFiles name the PEM files of a server's TLS identity.
type CertificateFiles struct {
	Cert, Key string
	// ClientCA, if set, holds the authorities whose certificates clients must
	// show.
	ClientCA string
}

// Certificate is a TLS identity that follows its files.
type Certificate struct {
	files   CertificateFiles
	current atomic.Pointer[identity]
}

// identity is what the files held, and the configuration made of it. The
// configuration stays the same while the files do, since it holds the keys
// with which sessions resume.
type identity struct {
	pem    [3][]byte // certificate, key, client authorities
	config *tls.Config
}

// OpenCertificate fails where a file cannot be read or key and certificate do not match.
func OpenCertificate(files CertificateFiles) (*Certificate, error) {
	c := &Certificate{files: files}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again. After an error, such as a certificate that was
// replaced before its key, the identity is what it was.
func (c *Certificate) Reload() error {
	var pem [3][]byte
	for i, path := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if path == "" && i == 2 {
			continue
		}
		data, err := readFile(path, maxPEM)
		if err != nil {
			return fmt.Errorf("credentials: certificate: %w", err)
		}
		pem[i] = data
	}
	if old := c.current.Load(); old != nil && samePEM(old.pem, pem) {
		return nil
	}
	config, err := tlsConfig(pem, c.files.ClientCA)
	if err != nil {
		return fmt.Errorf("credentials: certificate: %w", err)
	}
	c.current.Store(&identity{pem, config})
	return nil
}

func samePEM(a, b [3][]byte) bool {
	return bytes.Equal(a[0], b[0]) && bytes.Equal(a[1], b[1]) && bytes.Equal(a[2], b[2])
}

// tlsConfig is for HTTP/1.1 alone: its large uploads are faster, as nothing
// has to open a window for each of their parts.
func tlsConfig(pem [3][]byte, caName string) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(pem[0], pem[1])
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}
	if caName == "" {
		return config, nil
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem[2]) {
		return nil, fmt.Errorf("%s holds no certificate", caName)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

// Config is a configuration for listeners that follows the files: each new
// connection gets what was loaded last.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current.Load().config, nil
		},
	}
}
