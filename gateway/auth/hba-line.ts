// The words of a rules file, cut exactly as PostgreSQL cuts pg_hba.conf (hba.c, next_token): blanks
// end a field, commas part the words of one, quotes take away a word's special meaning, # begins a
// comment, and a backslash at the end of a line goes on in the next.

/** One word. In quotes it is a plain name, whatever it says. */
export type HbaWord = { readonly text: string; readonly quoted: boolean }

/** One line that says something, by the number of its first line. */
export type HbaLine = {
  readonly number: number
  readonly text: string
  readonly fields: readonly (readonly HbaWord[])[]
}

/** The lines of a file that are neither empty nor comments only. */
export function readLines(text: string): HbaLine[] {
  const lines: HbaLine[] = []
  const raw = text.split('\n')
  for (let at = 0; at < raw.length; at++) {
    const number = at + 1
    let line = withoutReturn(raw[at] as string)
    while (line.endsWith('\\') && at + 1 < raw.length) {
      line = line.slice(0, -1) + withoutReturn(raw[++at] as string)
    }
    const fields = readFields(line)
    if (fields.length > 0) lines.push({ number, text: line.trim(), fields })
  }
  return lines
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line
}

function readFields(line: string): HbaWord[][] {
  const fields: HbaWord[][] = []
  const cursor = { at: 0 }
  for (;;) {
    const field: HbaWord[] = []
    for (let more = true; more;) {
      const next = readWord(line, cursor)
      if (next === undefined) break
      field.push(next.word)
      more = next.comma
    }
    if (field.length === 0) return fields
    fields.push(field)
  }
}

function readWord(
  line: string,
  cursor: { at: number },
): { word: HbaWord; comma: boolean } | undefined {
  while (isBlank(line[cursor.at]) || line[cursor.at] === ',') cursor.at++
  let text = ''
  let [inQuote, wasQuote, sawQuote, quoted, comma] = [false, false, false, false, false]
  for (; cursor.at < line.length; cursor.at++) {
    const char = line[cursor.at] as string
    if (isBlank(char) && !inQuote) break
    if (char === '#' && !inQuote) {
      cursor.at = line.length
      break
    }
    if (char === ',' && !inQuote) {
      comma = true
      cursor.at++
      break
    }
    if (char !== '"' || wasQuote) text += char
    wasQuote = inQuote && char === '"' ? !wasQuote : false
    if (char !== '"') continue
    inQuote = !inQuote
    sawQuote = true
    if (text === '') quoted = true
  }
  if (!sawQuote && text === '') return undefined
  return { word: { text, quoted }, comma }
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\t' || char === '\r'
}
