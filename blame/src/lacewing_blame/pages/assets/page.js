'use strict';
const root = document.documentElement, $ = id => document.getElementById(id);
const steps = [...document.querySelectorAll('.step')], place = new Map(steps.map((s, i) => [s.id, i]));
const links = new Map([...document.querySelectorAll('#drawing a')].map(a => [a.getAttribute('href').slice(1), a]));
const suspects = [...document.querySelectorAll('.suspects>li>a')].map(a => a.getAttribute('href').slice(1));
const wide = Number($('drawing').dataset.wide), scroll = $('scroll'), cursor = $('cursor');
let at = -1, suspect = -1, chosen = null;

const dark = () => root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
$('theme').onclick = () => { root.dataset.theme = dark() ? 'light' : 'dark'; };

// What sticks to the top must not cover what is jumped to.
new ResizeObserver(() => root.style.setProperty('--bar', $('bar').offsetHeight + 'px')).observe($('bar'));

function here(i) {
  if (at >= 0) steps[at].classList.remove('here');
  at = i;
  steps[at].classList.add('here');
  cursor.setAttribute('x', at * wide);
  cursor.classList.add('on');
  const x = at * wide;
  if (x < scroll.scrollLeft + 20 || x > scroll.scrollLeft + scroll.clientWidth - 40) scroll.scrollLeft = x - scroll.clientWidth / 2;
}

function go(id) {
  const i = place.get(id);
  if (i === undefined) return;
  here(i);
  steps[i].scrollIntoView({behavior: 'instant', block: 'start'});
  steps[i].focus({preventScroll: true});
  history.replaceState(null, '', '#' + id);
}

function choose(number) {
  chosen = chosen === number ? null : number;
  for (const d of document.querySelectorAll('details.value')) d.open = d.dataset.value === chosen;
  for (const g of document.querySelectorAll('.path')) g.classList.toggle('on', g.dataset.value === chosen);
  for (const m of document.querySelectorAll('mark.value'))
    m.classList.toggle('on', chosen !== null && m.dataset.values.split(' ').includes(chosen));
  const open = document.querySelector('details.value[open]');
  const path = new Set(open ? [...open.querySelectorAll('p a')].map(a => a.getAttribute('href').slice(1)) : []);
  for (const s of steps) s.classList.toggle('onpath', path.has(s.id));
}

// The step that the words number, if they do.
const numbered = words => { const n = words.match(/^#?(?:step *)?(\d+)$/); return n && place.has('s' + n[1]) ? 's' + n[1] : null; };

// Goes to a step that is numbered; other words leave only the steps that hold them.
function find() {
  const words = $('find').value.trim().toLowerCase();
  const jump = numbered(words);
  const hits = [];
  for (const s of steps) {
    const hit = !words || jump || s.textContent.toLowerCase().includes(words);
    s.hidden = !hit;
    links.get(s.id).classList.toggle('missed', !hit);
    if (words && hit) hits.push(s);
  }
  mark(jump ? '' : words, hits);
  $('count').textContent = !words || jump ? '' : hits.length + ' of ' + steps.length + ' steps';
  if (jump) here(place.get(jump)), steps[at].scrollIntoView({behavior: 'instant', block: 'start'});
}

function mark(words, hits) {
  if (!window.CSS || !CSS.highlights) return;
  const ranges = [];
  for (const s of words ? hits.slice(0, 200) : []) {
    const walk = document.createTreeWalker(s.querySelector('.text'), NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node && ranges.length < 2000; node = walk.nextNode()) {
      const text = node.data.toLowerCase();
      for (let i = text.indexOf(words); i >= 0; i = text.indexOf(words, i + words.length)) {
        const range = new Range();
        range.setStart(node, i);
        range.setEnd(node, Math.min(i + words.length, node.length));
        ranges.push(range);
        const fold = node.parentElement.closest('details.fold');
        if (fold) fold.open = true;
      }
    }
  }
  CSS.highlights.set('found', new Highlight(...ranges));
}

function move(by) {
  let i = at < 0 ? (by > 0 ? -1 : steps.length) : at;
  do i += by; while (steps[i] && steps[i].hidden);
  if (steps[i]) go(steps[i].id);
}

$('find').oninput = find;
$('find').onkeydown = e => {
  if (e.key !== 'Enter') return;
  e.preventDefault();
  const jump = numbered($('find').value.trim().toLowerCase());
  if (jump) go(jump); else move(e.shiftKey ? -1 : 1);
};
$('folds').onclick = () => {
  const open = $('folds').getAttribute('aria-pressed') !== 'true';
  for (const d of document.querySelectorAll('main details.fold')) d.open = open;
  $('folds').setAttribute('aria-pressed', open);
  $('folds').textContent = open ? 'fold all' : 'unfold all';
};
document.addEventListener('click', e => {
  const link = e.target.closest('a[href^="#s"]'), value = e.target.closest('mark.value');
  const list = e.target.closest('details.value>summary');
  if (link) { e.preventDefault(); const id = link.getAttribute('href').slice(1); if (place.has(id) && steps[place.get(id)].hidden) clear(); go(id); }
  else if (list) { e.preventDefault(); choose(list.parentElement.dataset.value); }
  else if (value && !getSelection().toString()) choose(value.dataset.values.split(' ')[0]);
});
function clear() { $('find').value = ''; find(); }
document.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === 'Escape') { clear(); $('find').blur(); if (chosen !== null) choose(chosen); return; }
  if (e.target.matches('input')) return;
  const lane = e.target === scroll;
  if (e.key === '/') { e.preventDefault(); $('find').focus(); }
  else if (e.key === 'j' || (lane && e.key === 'ArrowRight')) { e.preventDefault(); move(1); if (lane) scroll.focus({preventScroll: true}); }
  else if (e.key === 'k' || (lane && e.key === 'ArrowLeft')) { e.preventDefault(); move(-1); if (lane) scroll.focus({preventScroll: true}); }
  else if (e.key === 's' && suspects.length) { suspect = (suspect + 1) % suspects.length; clear(); go(suspects[suspect]); }
});
// A timeline wider than the screen begins at the step that is named, or at the first suspect.
const named = document.querySelector('h1 a'), first = named ? named.getAttribute('href').slice(1) : suspects[0];
if (place.has(first)) scroll.scrollLeft = place.get(first) * wide - scroll.clientWidth / 2;
if (place.has(location.hash.slice(1))) go(location.hash.slice(1));
