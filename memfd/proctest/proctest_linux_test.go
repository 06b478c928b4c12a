package proctest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shmloop/shmloop/memfd/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Role{
		"echo":    echo,
		"exit":    func([]string) int { return 3 },
		"files":   printFiles,
		"hang":    hang,
		"nothing": func([]string) int { return 0 },
		"inject":  inject,
		"parent":  parent,
	})
}

// echo prints its arguments, then each line it reads, until the end.
func echo(args []string) int {
	fmt.Println(strings.Join(args, " "))
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		return 1
	}
	return 0
}

// hang says that it runs and then waits for ever.
func hang([]string) int {
	fmt.Println("up")
	select {}
}

// printFiles prints the contents of descriptors 3 and 4.
func printFiles([]string) int {
	for _, fd := range []uintptr{3, 4} {
		f := os.NewFile(fd, "given")
		b, err := io.ReadAll(f)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(string(b))
	}
	return 0
}

// parent starts a hang of its own, says that it is up, and waits with it.
func parent([]string) int {
	cmd, err := proctest.Command("hang")
	if err != nil {
		return 1
	}
	cmd.Stdout = os.Stdout
	if err := cmd.Start(); err != nil {
		return 1
	}
	fmt.Println(cmd.Process.Pid)
	_ = cmd.Wait()
	return 0
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSuffix(line, "\n")
}
