package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/shmloop/shmloop/stress/harness"
)

func dbusEcho() []harness.Arm {
	return []harness.Arm{{
		Name: "dbus",
		About: "D-Bus by godbus: a signal to itself through a dbus-daemon of its own, whose CPU time is the producer's here; " +
			"a number and a string, since godbus encodes an array of bytes one by one",
		Skip: func(harness.Params) string {
			if _, err := exec.LookPath("dbus-daemon"); err != nil {
				return "dbus-daemon is not on PATH"
			}
			return ""
		},
		Block: echoByDBus,
	}}
}

// The limits are far above what a message of 16 MiB needs.
const dbusConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
  <limit name="max_message_size">134217728</limit>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
</busconfig>
`

const (
	dbusPath      = "/stress"
	dbusInterface = "com.example.Stress"
	dbusMember    = "Message"
)

// echoByDBus is what the benchmark of the crate shmem-ipc does: one connection, a
// signal and its arrival.
func echoByDBus(ctx context.Context, p harness.Params) (r harness.Result, err error) {
	if err := checkSize(p); err != nil {
		return harness.Result{}, err
	}
	signals := make(arrivals, 1)
	conn, daemon, err := openBus(ctx, signals)
	if err != nil {
		return harness.Result{}, err
	}
	defer func() {
		_ = conn.Close() // always nil at its first call
		err = errors.Join(err, stopBus(daemon))
	}()

	// The number and the text are the message. No text is made for a message, as no
	// buffer is in the other arms.
	text := strings.Repeat("x", p.Size-8)
	signal := &dbus.Message{
		Type: dbus.TypeSignal,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(conn.Names()[0]),
			dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath(dbusPath)),
			dbus.FieldInterface:   dbus.MakeVariant(dbusInterface),
			dbus.FieldMember:      dbus.MakeVariant(dbusMember),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(uint64(0), text)),
		},
	}
	// A block is too short for large messages on this way: 16 MiB take about 0.2 s.
	if longer := time.Duration(p.Size) * 64; longer > p.Duration {
		p.Duration = longer
		defer func() { r.Notes = append(r.Notes, fmt.Sprintf("blocks of %v", longer.Round(time.Millisecond))) }()
	}
	w := harness.NewWindow(p, daemon)
	w.Start(ctx)
	var check harness.Check
	for seq := uint64(0); w.Add(1, p.Size); seq++ {
		signal.Body = []any{seq, text}
		if err := conn.Send(signal, nil).Err; err != nil {
			return harness.Result{}, fmt.Errorf("send message %d of %d bytes: %w", seq, p.Size, err)
		}
		got, err := signals.next(conn.Context())
		if err != nil {
			return harness.Result{}, err
		}
		number, ok := got.Body[0].(uint64)
		if came, _ := got.Body[1].(string); !ok || len(came) != len(text) {
			return harness.Result{}, fmt.Errorf("message %d of %d bytes came as %T with %d bytes", seq, p.Size, got.Body[0], len(came))
		}
		check.See(number)
	}
	return w.Result(&check)
}

// arrivals takes our signals as they come: godbus's own handler would make a goroutine
// for one that finds its channel full.
type arrivals chan *dbus.Signal

// DeliverSignal implements dbus.SignalHandler.
func (a arrivals) DeliverSignal(iface, _ string, s *dbus.Signal) {
	if iface == dbusInterface { // the daemon has signals too
		a <- s
	}
}

func (a arrivals) next(ctx context.Context) (*dbus.Signal, error) {
	select {
	case s := <-a:
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// openBus starts a dbus-daemon that nobody else knows of, and connects to it.
func openBus(ctx context.Context, h dbus.SignalHandler) (_ *dbus.Conn, daemon *harness.PeerProcess, err error) {
	dir, err := os.MkdirTemp("", "stress-dbus")
	if err != nil {
		return nil, nil, err
	}
	// What is in it is needed no more once there is a connection.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, dbusConfig, filepath.Join(dir, "bus")), 0o600); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--print-address")
	cmd.Stderr = os.Stderr
	if daemon, err = harness.StartCommand(ctx, cmd); err != nil {
		return nil, nil, err
	}
	address, err := daemon.Stdout.ReadString('\n')
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("address of the dbus-daemon: %w", err), stopBus(daemon))
	}
	conn, err := dbus.Connect(strings.TrimSpace(address), dbus.WithContext(ctx), dbus.WithSignalHandler(h))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connect to the dbus-daemon: %w", err), stopBus(daemon))
	}
	return conn, daemon, nil
}

// stopBus ends the daemon, which does not look at its standard input.
func stopBus(daemon *harness.PeerProcess) error {
	_ = daemon.Signal(syscall.SIGTERM) // fails if it has ended, which Stop tells
	return daemon.Stop()
}
