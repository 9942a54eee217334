package oracle

import (
	"bufio"
	"encoding"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/config/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/merge"
)

const machinery = "github.com/siderolabs/talos/pkg/machinery"

// WriteFields writes the table of documents, types and fields that Talos' decoder knows, found by reflection.
//
// The grammar stands at the head of src/cloud/machine_config/schema.
func WriteFields(w io.Writer) error {
	kinds, err := documentKinds()
	if err != nil {
		return err
	}

	t := &table{seen: map[string]string{}}
	lines := []string{}

	for _, kind := range kinds {
		doc, err := emptyDocument(kind)
		if err != nil {
			return err
		}

		flags := ""
		if _, ok := doc.(config.NamedDocument); ok {
			flags += " named"
		}
		if conflicting, ok := doc.(config.ConflictingDocument); ok {
			flags += " conflicts=" + strings.Join(conflicting.ConflictsWithKinds(), ",")
		}
		ref, err := t.expression(reflect.TypeOf(doc).Elem())
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("document %s %s%s", kind, ref, flags))
	}

	out := bufio.NewWriter(w)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	names := []string{}
	for name := range t.seen {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprint(out, t.seen[name])
	}

	return out.Flush()
}

var (
	registration = regexp.MustCompile(`registry\.Register\((\w+|"\w+"),`)
	kindConstant = regexp.MustCompile(`(?m)^(?:const)?\s*(\w+)\s*=\s*"(\w+)"`)
)

// documentKinds are the kinds that machinery registers: its registry can't be asked from outside, and its JSON schema leaves some out.
func documentKinds() ([]string, error) {
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", machinery).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	kinds := []string{}
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(folder)), "config/types"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		bytes, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		constants := map[string]string{}
		for _, match := range kindConstant.FindAllStringSubmatch(string(bytes), -1) {
			constants[match[1]] = match[2]
		}
		for _, match := range registration.FindAllStringSubmatch(string(bytes), -1) {
			name, literal := strings.CutPrefix(match[1], `"`)
			if literal {
				name = strings.TrimSuffix(name, `"`)
			} else if name = constants[match[1]]; name == "" && match[1] == "Version" {
				name = "v1alpha1"
			}
			if name == "" {
				return fmt.Errorf("%s registers %s, and it is not to be seen what that is", path, match[1])
			}
			kinds = append(kinds, name)
		}

		return nil
	})
	sort.Strings(kinds)

	return kinds, err
}

func emptyDocument(kind string) (config.Document, error) {
	text := "version: v1alpha1\nmachine: {}\n"
	if kind != "v1alpha1" {
		text = "apiVersion: v1alpha1\nkind: " + kind + "\n"
	}
	provider, err := configloader.NewFromBytes([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	documents := provider.Documents()
	if len(documents) != 1 {
		return nil, fmt.Errorf("%s: %d documents", kind, len(documents))
	}

	return documents[0], nil
}

type table struct {
	// Name of a type to its lines.
	seen map[string]string
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	// Of yaml.v3 and of yaml.v4, and the older form of both.
	yamlNames = []string{"UnmarshalYAML"}
)

func hasMethod(t reflect.Type, names ...string) bool {
	for _, name := range names {
		if _, ok := reflect.PointerTo(t).MethodByName(name); ok {
			return true
		}
	}

	return false
}

func shortName(t reflect.Type) string {
	path := t.PkgPath()

	return path[strings.LastIndex(path, "/")+1:] + "." + t.Name()
}

func (t *table) expression(typ reflect.Type) (string, error) {
	if typ == reflect.TypeFor[time.Duration]() {
		return "duration", nil
	}
	if typ.Name() != "" && typ.PkgPath() != "" {
		own := hasMethod(typ, yamlNames...) || reflect.PointerTo(typ).Implements(textUnmarshaler)
		merger := hasMethod(typ, "Merge")
		switch {
		case own && typ.Kind() != reflect.Struct && typ.Kind() != reflect.Slice:
			return "@" + shortName(typ), t.enumeration(typ)
		case own && shortName(typ) == "v1alpha1.ClusterInlineManifests":
			// Its own decoder only trims.
			inner, err := t.expression(typ.Elem())

			return "[" + inner, err
		case own:
			return "@" + shortName(typ), t.special(typ)
		case merger && typ.Kind() == reflect.Slice:
			inner, err := t.expression(typ.Elem())

			return "&" + shortName(typ) + "<" + inner, err
		case merger && typ.Kind() == reflect.Map:
			inner, err := t.expression(typ.Elem())

			return "&" + shortName(typ) + "<" + inner, err
		case merger:
			return "", fmt.Errorf("%s merges in a way of its own that nobody looked at", typ)
		}
	}

	switch typ.Kind() {
	case reflect.String:
		return "string", nil
	case reflect.Bool:
		return "bool", nil
	case reflect.Int, reflect.Int64:
		return "i64", nil
	case reflect.Int8:
		return "i8", nil
	case reflect.Int16:
		return "i16", nil
	case reflect.Int32:
		return "i32", nil
	case reflect.Uint, reflect.Uint64:
		return "u64", nil
	case reflect.Uint8:
		return "u8", nil
	case reflect.Uint16:
		return "u16", nil
	case reflect.Uint32:
		return "u32", nil
	case reflect.Float32, reflect.Float64:
		return "float", nil
	case reflect.Interface:
		return "any", nil
	case reflect.Pointer:
		inner, err := t.expression(typ.Elem())

		return "*" + inner, err
	case reflect.Slice:
		inner, err := t.expression(typ.Elem())

		return "[" + inner, err
	case reflect.Map:
		if typ.Key().Kind() != reflect.String {
			return "", fmt.Errorf("%s: a map whose keys are no strings", typ)
		}
		inner, err := t.expression(typ.Elem())

		return "{" + inner, err
	case reflect.Struct:
		return "#" + shortName(typ), t.structure(typ)
	default:
		return "", fmt.Errorf("%s: a kind of type that nobody looked at", typ)
	}
}

// special notes a type that reads its own text, and whether Talos can merge one with another at all.
func (t *table) special(typ reflect.Type) error {
	name := shortName(typ)
	if _, ok := t.seen[name]; ok {
		return nil
	}
	mergeable := "merges"
	if hasMethod(typ, "Merge") {
		// Its Merge takes what is absent for a value.
		mergeable = "resets"
	}
	if err := merge.Merge(reflect.New(typ).Interface(), reflect.New(typ).Interface()); err != nil {
		mergeable = "unmergeable"
	}
	t.seen[name] = fmt.Sprintf("special %s %s %s\n", name, typ.Kind(), mergeable)

	return nil
}

// enumeration notes a number with names, by asking it for the names of all numbers of 16 bits.
func (t *table) enumeration(typ reflect.Type) error {
	name := shortName(typ)
	if _, ok := t.seen[name]; ok {
		return nil
	}
	values := []string{}
	for number := range 1 << 16 {
		value := reflect.New(typ)
		switch {
		case value.Elem().CanInt():
			if value.Elem().OverflowInt(int64(number)) {
				continue
			}
			value.Elem().SetInt(int64(number))
		case value.Elem().CanUint():
			if value.Elem().OverflowUint(uint64(number)) {
				continue
			}
			value.Elem().SetUint(uint64(number))
		default:
			return fmt.Errorf("%s: a text of its own that nobody looked at", typ)
		}
		stringer, ok := value.Interface().(fmt.Stringer)
		if !ok {
			break
		}
		text := stringer.String()
		again := reflect.New(typ)
		if again.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)) == nil && again.Elem().Equal(value.Elem()) && text != "" {
			if strings.ContainsAny(text, " \t") {
				return fmt.Errorf("%s: a name with a space", typ)
			}
			if number == 0 {
				// Zero merges as if it were not there.
				text = "0=" + text
			}
			values = append(values, text)
		}
	}
	t.seen[name] = fmt.Sprintf("enumeration %s %s\n", name, strings.Join(values, " "))

	return nil
}

func (t *table) structure(typ reflect.Type) error {
	name := shortName(typ)
	if _, ok := t.seen[name]; ok {
		return nil
	}
	t.seen[name] = ""

	lines := "struct " + name + "\n"
	for i := range typ.NumField() {
		field := typ.Field(i)
		tag, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		inline := slices.Contains(strings.Split(options, ","), "inline")
		if tag == "-" || (!field.IsExported() && !field.Anonymous) {
			continue
		}
		expression, err := t.expression(field.Type)
		if err != nil {
			return err
		}
		flags := ""
		if slices.Contains(strings.Split(options, ","), "omitempty") {
			flags += " omitempty"
		}
		if strings.Contains(field.Tag.Get("merge"), "replace") {
			flags += " replace"
		}
		switch {
		case inline:
			tag = "<<"
		case tag == "":
			tag = strings.ToLower(field.Name)
		}
		lines += fmt.Sprintf(" %s %s%s\n", tag, expression, flags)
	}
	t.seen[name] = lines

	return nil
}
