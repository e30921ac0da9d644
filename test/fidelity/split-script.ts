// Cuts a script for psql into statements, as far as a test needs it: strings, dollar quotes,
// comments and parentheses are seen; psql's own commands and variables are left out, as is what a
// COPY reads.

const TOKEN =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$[a-z_0-9]*\$)[^]*?\1|--[^\n]*|\/\*[^]*?\*\/|\bbegin atomic\b|[();\\]|\bend\b/gi

/** The statements, without their semicolons. */
export function splitScript(script: string): string[] {
  const text = script.replace(/^copy [^;]* from stdin[^;]*;\n[^]*?^\\\.$/gim, '')
  const statements: string[] = []
  let from = 0
  let depth = 0
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token === '(' || /^begin atomic$/i.test(token)) depth += 1
    else if (token === ')') depth -= 1
    else if (/^end$/i.test(token) && /begin atomic/i.test(text.slice(from, index))) depth -= 1
    else if (token === ';' && depth <= 0) {
      statements.push(text.slice(from, index).trim())
      from = index + 1
      depth = 0
    } else if (token === '\\') {
      // \gset, \d and their like end a statement; what is before them is left out with the line.
      const end = text.indexOf('\n', index)
      from = end < 0 ? text.length : end + 1
      depth = 0
    }
  }
  return statements.filter((each) => each !== '' && !/(?:^|\W):["']?[a-z_]+["']?/i.test(each))
}
