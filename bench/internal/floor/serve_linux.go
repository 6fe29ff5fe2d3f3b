package floor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Serve is c/sendloop.c in Go: it accepts n connections and sends messages of size bytes as the lines of in say, until in
// ends. Only the loop itself matters: it is raw sendto(2) on one thread.
func Serve(n, size int, in io.Reader, out io.Writer) error {
	if n < 1 || size < 1 {
		return errors.New("send loop: want a connection and a byte")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintf(out, "port %d\n", l.Addr().(*net.TCPAddr).Port)
	fds := make([]int, 0, n)
	for range n {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		defer conn.Close() // and keeps it alive
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "ready")

	message := make([]byte, size)
	for r := bufio.NewReader(in); ; {
		var messages, interval int64
		if _, err := fmt.Fscan(r, &messages, &interval); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("send loop: %w", err)
		}
		var whole, part int64
		for due := time.Now(); messages > 0; messages-- {
			time.Sleep(time.Until(due))
			due = due.Add(time.Duration(interval))
			for _, fd := range fds {
				sent, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&message[0])),
					uintptr(size), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
				if errno == 0 && int(sent) == size {
					whole++
				} else {
					part++
				}
			}
		}
		if _, err := fmt.Fprintf(out, "sent %d %d\n", whole, part); err != nil {
			return err
		}
	}
}
