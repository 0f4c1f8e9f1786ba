const root=document.documentElement,dark=()=>root.dataset.theme?root.dataset.theme==='dark':
matchMedia('(prefers-color-scheme: dark)').matches;
document.getElementById('theme').onclick=()=>{root.dataset.theme=dark()?'light':'dark'};
