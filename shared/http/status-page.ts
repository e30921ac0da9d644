import { toJson } from './json.ts'

/** What the page shows. */
export interface StatusPage {
  service: string
  id: string
  build: { version: string; commit: string | null; bun: string }
  lameduck: { state: string; sessions: number }
  notReady: () => readonly string[]
  debug: () => Readonly<Record<string, unknown>>
  status: () => unknown
}

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:2em auto;padding:0 1em}' +
  'th{text-align:left;padding-right:1em;vertical-align:top}pre{white-space:pre-wrap;margin:0}'

/** A short page about one service: state, what it says of itself, where to look next. */
export function statusPage(page: StatusPage): string {
  const { service, id, build, lameduck } = page
  const reasons = page.notReady()
  const rows: [string, unknown][] = [
    ['ready', reasons.length === 0 ? 'yes' : `no: ${reasons.join('; ')}`],
    ['state', lameduck.state],
    ['sessions', lameduck.sessions],
    [
      'version',
      `${build.version} (${build.commit?.slice(0, 12) ?? 'no commit'}), Bun ${build.bun}`,
    ],
    ...statusRows(page.status()),
  ]
  const debug = Object.keys(page.debug()).map((name) => `debug/${name}`)
  const links = ['ready', 'config', 'metrics', 'lameduck', 'version', ...debug]
  return [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escape(id)}</title>`,
    `<style>${STYLE}</style><h1>${escape(service)} ${escape(id)}</h1><table>`,
    ...rows.map(([name, value]) => `<tr><th>${escape(name)}<td>${cell(value)}`),
    `</table><p>${links.map(anchor).join(' · ')}`,
    '</html>\n',
  ].join('\n')
}

/** An object is a row for each of its fields, anything else one row. */
function statusRows(status: unknown): [string, unknown][] {
  if (status === undefined) return []
  const isObject = typeof status === 'object' && status !== null && !Array.isArray(status)
  return isObject ? Object.entries(status) : [['status', status]]
}

function anchor(path: string): string {
  return `<a href="/${escape(path)}">${escape(path)}</a>`
}

function cell(value: unknown): string {
  if (typeof value === 'string') return escape(value)
  return typeof value === 'object' && value !== null
    ? `<pre>${escape(toJson(value))}</pre>`
    : escape(toJson(value))
}

function escape(text: string): string {
  return Bun.escapeHTML(text)
}
