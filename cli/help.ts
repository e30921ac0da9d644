import type { Fields } from '../shared/config/fields.ts'
import { externalName, flagName } from '../shared/config/names.ts'

const WIDTH = 92
const INDENT = '      '

/** What `--help` of one command shows. */
export interface CommandHelp {
  /** As typed, without `multigres`: `cluster start`. */
  readonly name: string
  readonly about: string
  readonly fields: Fields
  /** Flags that are no fields, as `[usage, explanation]`. */
  readonly more?: readonly (readonly [string, string])[]
  /** Lines to try, each with what it does. */
  readonly examples: readonly (readonly [string, string])[]
}

/** The whole text of `multigres COMMAND --help`. */
export function commandHelp(help: CommandHelp): string {
  const flags = Object.entries(help.fields).flatMap(([key, field]) => {
    const flag = flagName(externalName(key))
    const usage = field.boolean ? flag : `${flag} ${field.placeholder}`
    const fallback = typeof field.default === 'string' && !field.boolean ? field.default : ''
    return flagHelp(usage, fallback === '' ? field.help : `${field.help} [${fallback}]`)
  })
  const more = (help.more ?? []).flatMap(([usage, text]) => flagHelp(usage, text))
  const width = Math.max(...help.examples.map(([line]) => line.length))
  return [
    `Usage: multigres ${help.name} [FLAGS]`,
    '',
    ...wrap(help.about, WIDTH),
    '',
    'Flags:',
    ...flags,
    ...more,
    ...flagHelp('--help', 'This text.'),
    '',
    'Examples:',
    ...help.examples.map(([line, what]) => `  ${line.padEnd(width)}   ${what}`),
    '',
  ].join('\n')
}

function flagHelp(usage: string, text: string): string[] {
  return [`  ${usage}`, ...wrap(text, WIDTH - INDENT.length).map((line) => INDENT + line)]
}

/** Cuts at blanks; an empty line in `text` stays one. */
function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    let line = ''
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line)
        line = word
      } else line = line === '' ? word : `${line} ${word}`
    }
    return [...lines, line]
  })
}
