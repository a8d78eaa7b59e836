#!/bin/sh
# Draws docs/demo.svg: what `dripfeed demo --exit` prints, as it prints it into a pipe.
#
#   docs/make-demo-svg.sh [PROGRAM]        (default: target/release/dripfeed, built if it is not there)
#
# The picture brings its own ground, so that it looks the same on light and dark pages, and names no font but
# "monospace". Each line is given its width, so columns stand below one another whatever font that is.
set -eu
cd "$(dirname "$0")/.."

program=${1:-target/release/dripfeed}
[ -x "$program" ] || cargo build --release --bin dripfeed

story=$(mktemp)
trap 'rm -f "$story"' EXIT
"$program" demo --exit >"$story"

awk '
  { sub(/[ \t]+$/, ""); line[++lines] = $0; if (length($0) > widest) widest = length($0) }
  END {
    # The story begins with an empty line; the prompt stands above it.
    for (i = lines++; i >= 1; i--) line[i + 1] = line[i]
    line[1] = "$ dripfeed demo --exit"
    step = 8.4; row = 19; left = 22; top = 62
    width = int(2 * left + step * widest + 0.5); height = top + row * (lines - 1) + 26
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"Terminal: dripfeed demo builds, activates, assigns, downloads and executes a package, and ends with SUCCESS\">\n", width, height, width, height
    print "<style>text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;fill:#c9d3dd;white-space:pre}.s{fill:#4fc3bd;font-weight:700}.a{fill:#8fa0b0}.p{fill:#e7ecf2}.g{fill:#7fd18b;font-weight:700}</style>"
    printf "<rect x=\".5\" y=\".5\" width=\"%d\" height=\"%d\" rx=\"10\" fill=\"#10151b\" stroke=\"#3a4653\"/>\n", width - 1, height - 1
    print "<g fill=\"#3a4653\"><circle cx=\"24\" cy=\"22\" r=\"6\"/><circle cx=\"44\" cy=\"22\" r=\"6\"/><circle cx=\"64\" cy=\"22\" r=\"6\"/></g>"
    for (i = 1; i <= lines; i++) {
      text = line[i]
      if (text == "") continue
      class = ""
      if (i == 1) class = "p"
      else if (text ~ /^[0-9]\. /) class = "s"
      else if (text ~ /^   agent  /) class = "a"
      else if (text ~ /^SUCCESS/) class = "g"
      match(text, /[^ ]/)
      blanks = RSTART - 1
      text = substr(text, RSTART); span = length(text) * step
      gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text)
      printf "<text%s x=\"%.1f\" y=\"%d\" textLength=\"%.1f\" lengthAdjust=\"spacingAndGlyphs\">%s</text>\n", (class == "" ? "" : " class=\"" class "\""), left + blanks * step, top + (i - 1) * row, span, text
    }
    print "</svg>"
  }
' "$story" >docs/demo.svg
echo "docs/demo.svg: $(wc -l <docs/demo.svg) lines"
