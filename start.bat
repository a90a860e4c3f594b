@echo off
chcp 65001 >nul
setlocal
set "PYTHON="
for %%V in (3.12 3.11) do (
    if not defined PYTHON py -%%V -c "" >nul 2>nul && set "PYTHON=py -%%V"
)
if not defined PYTHON (
    python -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))" >nul 2>nul && set "PYTHON=python"
)
if not defined PYTHON (
    echo 需要 Python 3.11 或 3.12。请在命令行运行 winget install Python.Python.3.12，再双击 start.bat。
    echo Python 3.11 or 3.12 is needed. Run winget install Python.Python.3.12 and double-click start.bat again.
    pause
    exit /b 1
)
%PYTHON% "%~dp0modules\launcher.py" %*
if errorlevel 1 pause
