/** One backslash command: its name and its arguments, with variables put in. */
export type Command = {
  readonly name: string
  readonly args: readonly string[]
  readonly raw: string
}

/** psql's variables, and the commands that a script gives on a line. */
export class Variables {
  readonly #values = new Map<string, string>()

  constructor(values: Readonly<Record<string, string>> = {}) {
    for (const [name, value] of Object.entries(values)) this.#values.set(name, value)
  }

  set(name: string, value: string): void {
    this.#values.set(name, value)
  }

  unset(name: string): void {
    this.#values.delete(name)
  }

  /** The text for `:name`, `:'name'`, `:"name"` or `:{?name}`; undefined for an unknown name. */
  readonly substitute = (reference: string): string | undefined => {
    const [, exists, literal, name, plain] =
      /^:(?:\{\?(\w+)\}|'(\w+)'|"(\w+)"|(\w+))$/.exec(reference) ?? []
    if (exists !== undefined) return this.#values.has(exists) ? 'TRUE' : 'FALSE'
    const value = this.#values.get(literal ?? name ?? plain ?? '')
    if (value === undefined) return undefined
    if (literal !== undefined) return quoteLiteral(value)
    return name === undefined ? value : `"${value.replaceAll('"', '""')}"`
  }

  /** Reads the commands of a line: a backslash outside of quotes begins the next one. */
  commands(line: string): Command[] {
    const commands: Command[] = []
    let rest = line
    while (rest.startsWith('\\')) {
      const name = /^\\(\w+|[?!])?/.exec(rest)?.[1] ?? ''
      const body = rest.slice(1 + name.length)
      if (name === 'copy' || name === '!') return [...commands, { name, args: [], raw: body }]
      const { args, used } = this.#arguments(body)
      commands.push({ name, args, raw: body.slice(0, used) })
      rest = body.slice(used).replace(/^\\\\/, '')
      if (used === 0 && name === '') break
    }
    return commands
  }

  #arguments(text: string): { args: string[]; used: number } {
    const args: string[] = []
    let word: string | undefined
    let at = 0
    while (at < text.length && text[at] !== '\\') {
      const char = text[at] ?? ''
      if (/\s/.test(char)) {
        if (word !== undefined) args.push(word)
        word = undefined
        at++
        continue
      }
      const quoted = /^'((?:[^'\\]|\\.|'')*)'|^"((?:[^"]|"")*)"/.exec(text.slice(at))
      const reference = /^:(?:\{\?\w+\}|'\w+'|"\w+"|\w+)/.exec(text.slice(at))?.[0]
      const value = reference === undefined ? undefined : this.substitute(reference)
      if (quoted !== null) {
        word = (word ?? '') + unquote(quoted[1]) + (quoted[2] === undefined ? '' : quoted[0])
        at += quoted[0].length
      } else if (reference !== undefined && value !== undefined) {
        word = (word ?? '') + value
        at += reference.length
      } else {
        word = (word ?? '') + char
        at++
      }
    }
    if (word !== undefined) args.push(word)
    return { args, used: at }
  }
}

/** Whether psql takes an argument of `\if` for true. */
export function isTrue(word: string | undefined): boolean {
  const text = (word ?? '').toLowerCase()
  return (
    text !== '' && ('true'.startsWith(text) || 'yes'.startsWith(text) || ['on', '1'].includes(text))
  )
}

function quoteLiteral(value: string): string {
  const doubled = value.replaceAll("'", "''")
  return value.includes('\\') ? ` E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`
}

function unquote(text: string | undefined): string {
  return (text ?? '').replaceAll("''", "'").replace(/\\(.)/g, (_, char: string) => {
    return { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' }[char] ?? char
  })
}
