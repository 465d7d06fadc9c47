// Views, sign-in, and whether the server is there.
import { el, problem } from "./dom.js";
import { models, setToken } from "./server.js";
import { tryView } from "./try.js";
import { watchView } from "./watch.js";
import { compareView } from "./compare.js";

const state = document.getElementById("state");
const sign = document.getElementById("sign");
const dialog = document.getElementById("signin");
const form = document.getElementById("signin-form");
const asksForTokens = document.documentElement.dataset.tokens === "true";
let signedIn = !asksForTokens;

const app = {
  /** Says how the server is: "ok", "wait" or "bad", and in words. */
  tell(kind, text) {
    if (state.dataset.kind === kind && state.textContent === text) return;
    state.dataset.kind = kind;
    state.textContent = text;
  },
  /** Deals with an error of any request: a token that is refused is asked for again. */
  refused(err) {
    if (err.status !== 401) return false;
    if (signedIn && asksForTokens) signOut(err.message);
    return true;
  },
  /** Learns again what the server hosts, which may have started anew, and gives it in words. */
  load,
};

const views = { try: tryView(app), watch: watchView(app), compare: compareView(app) };

function show() {
  const name = location.hash.slice(1) in views ? location.hash.slice(1) : "try";
  for (const [other, view] of Object.entries(views)) {
    document.getElementById(other).hidden = other !== name;
    const link = document.querySelector(`nav a[href="#${other}"]`);
    if (other === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (view.visible) view.visible(other === name && signedIn);
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · DenseReward`;
}

async function load() {
  const found = await models();
  for (const view of Object.values(views)) view.models?.(found);
  const n = found.evaluators.length;
  return n === 1 ? found.evaluators[0].name : `${n} evaluators`;
}

/** Says how the server is, unless a view follows it, which knows better. */
function tell(kind, text) {
  if (!views.watch.follows()) app.tell(kind, text);
}

async function start() {
  if (!signedIn) {
    app.tell("wait", "signed out");
    if (!dialog.open) dialog.showModal();
    return;
  }
  try {
    tell("ok", await load());
    show();
  } catch (err) {
    if (app.refused(err)) return;
    tell("bad", err.message);
    setTimeout(start, 2000);
  }
}

function signOut(text) {
  setToken("");
  signedIn = false;
  sign.textContent = "Sign in";
  show();
  problem(form, text);
  app.tell("wait", "signed out");
  if (!dialog.open) dialog.showModal();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = form.token.value.trim();
  setToken(token);
  try {
    tell("ok", await load());
  } catch (err) {
    setToken("");
    problem(form, err.message);
    form.token.select();
    return;
  }
  signedIn = true;
  form.reset();
  problem(form, "");
  sign.textContent = "Sign out";
  dialog.close();
  show();
});

sign.hidden = !asksForTokens;
sign.addEventListener("click", () => (signedIn ? signOut("") : dialog.showModal()));
addEventListener("hashchange", () => {
  if (document.getElementById(location.hash.slice(1))?.classList.contains("view")) show();
});
show();
start();
