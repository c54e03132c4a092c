// The npm packages of package-lock.json, from the folder that COLLECTOR_PEERS_NODE names.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export async function load(name) {
  const folder = join(process.env.COLLECTOR_PEERS_NODE, 'node_modules', name);
  const { main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const module = await import(pathToFileURL(join(folder, main)));
  return module.default && module.Upload === undefined ? module.default : module;
}

// "--name value" of the command line.
export function options() {
  const found = {};
  for (let i = 2; i < process.argv.length; i += 2) found[process.argv[i].slice(2)] = process.argv[i + 1];
  return found;
}
